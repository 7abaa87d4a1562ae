"""Photographs and their boxes as ultralytics reads them. Needs nothing that has to be installed."""

from __future__ import annotations

import json
from pathlib import Path

from .task import Photographs


def write_layout(folder: Path, parts: dict[str, Photographs]) -> Path:
    """Photographs and boxes as ultralytics reads them: links, text files of relative centres and sizes, data.yaml."""
    for part, photographs in parts.items():
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        for item in photographs.items:
            link = folder / "images" / part / item.path.name
            link.unlink(missing_ok=True)
            link.symlink_to(item.path)
            lines = [
                f"{label - 1} {(x1 + x2) / 2 / item.width:.6f} {(y1 + y2) / 2 / item.height:.6f} "
                f"{(x2 - x1) / item.width:.6f} {(y2 - y1) / item.height:.6f}\n"
                for (x1, y1, x2, y2), label in zip(item.boxes, item.labels, strict=True)
            ]
            (folder / "labels" / part / item.path.name).with_suffix(".txt").write_text("".join(lines))
    names = next(iter(parts.values())).class_names
    file = folder / "data.yaml"
    lines = [f"path: {folder.resolve()}", *(f"{part}: images/{part}" for part in parts), "names:"]
    file.write_text(
        "\n".join([*lines, *(f"  {number}: {json.dumps(name)}" for number, name in enumerate(names))]) + "\n"
    )
    return file
