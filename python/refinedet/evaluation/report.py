"""What an evaluation leaves behind: a table for people and `metrics.json` for programs."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..text_table import align

# Columns of the per-class table: key, heading. Those that no class has are left out.
_COLUMNS = (
    ("AP", "AP"),
    ("AP50", "AP50"),
    ("objects", "objects"),
    ("difficult", "difficult"),
    ("detections", "detections"),
    ("true_positives", "TP"),
    ("false_positives", "FP"),
)
_PACKAGES = ("refinedet-ext", "torch", "numpy", "opencv-python-headless", "pycocotools")


def format_table(metrics: Mapping[str, Any]) -> str:
    """A plain-text table of the classes with a row of means, then the summary metrics.

    metrics: as `coco_evaluate` and `voc_evaluate` return them. AP in percent; "-" where there was
    nothing to measure. The text ends without a line break.
    """
    per_class = metrics["per_class"]
    columns = [(k, head) for k, head in _COLUMNS if any(k in row for row in per_class.values())]
    rows = [["class", *(head for _, head in columns)]]
    for name, row in per_class.items():
        rows.append([name, *(_cell(key, row.get(key)) for key, _ in columns)])
    last = [f"all ({len(per_class)})"]
    for key, _ in columns:
        values = [row[key] for row in per_class.values() if row.get(key) is not None]
        if key in ("AP", "AP50"):
            last.append(_cell(key, sum(values) / len(values) if values else None))
        else:
            last.append(str(sum(values)))
    rows.append(last)
    lines = align(rows)
    rule = "-" * max(len(line) for line in lines)
    text = [lines[0], rule, *lines[1:-1], rule, lines[-1]]

    summary = [(k, v) for k, v in metrics.items() if k[:2] in ("AP", "AR", "mA")]
    if summary:
        text += [
            "",
            *align([[key for key, _ in summary], [_cell("AP", v) for _, v in summary]], 0),
            "in percent",
        ]
    return "\n".join(text)


def write_metrics(path: str | Path, metrics: Mapping[str, Any], **extra: Any) -> dict[str, Any]:
    """Writes metrics as JSON, with the `versions` of the packages used; returns what it wrote.

    extra: further keys (the model's name, seconds taken); one that contradicts a metric is refused.
    """
    for name, value in extra.items():
        if name == "versions" or (name in metrics and metrics[name] != value):
            raise ValueError(f"extra: {name!r} is a key of the metrics already")
    content = {**metrics, **extra, "versions": versions()}
    path = Path(path)
    text = json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")
    return content


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that shape a result, those that are installed."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f}" if key in ("AP", "AP50") else str(value)
