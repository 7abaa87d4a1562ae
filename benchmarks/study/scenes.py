"""Rendered scenes that are hard where the papers' mechanisms claim to help."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from refinedet.data.synthetic import render_dataset

# Many small objects, sides of 9 to 83 pixels of an input of 192, half of each may be hidden, and the last two classes
# come six times less often than the first two.
HARD: dict[str, Any] = {
    "size": 256,
    "objects": (6, 24),
    "object_size": (12.0, 110.0),
    "max_overlap": 0.5,
    "frequency": (6, 6, 3, 3, 1, 1),
    "contrast": 100.0,
    "empty": 0.0,
}
TRAIN, TEST = 400, 100


def hard_scenes(root: Path, *, train: int = TRAIN, test: int = TEST) -> Path:
    """Renders them into `root` (COCO layout) unless they are there; returns root.

    ValueError if root has scenes that were rendered otherwise.
    """
    wanted = json.loads(json.dumps({**HARD, "train": train, "test": test}))
    if root.exists():
        found = json.loads((root / "options.json").read_text(encoding="utf-8"))
        if any(found[name] != value for name, value in wanted.items()):
            raise ValueError(f"{root}: expected scenes rendered with {wanted}, found {found}")
        return root
    partial = root.with_name(f"{root.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # of a rendering that was interrupted
    render_dataset(partial, train=train, test=test, seed=17, **HARD)
    partial.rename(root)
    return root
