"""An analysis in a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..text_table import align

MOST = 20
"""Classes and confusions that the text names; the JSON file has all."""


def summarize(content: Mapping[str, Any]) -> str:
    """content: what `analysis.json` holds. The text ends without a line break."""
    ignored = content["ignored_objects"]
    lines = [
        f"{content['detections']:,} detections of {content['objects']:,} objects in {content['images']:,} images"
        + (f"; {ignored:,} difficult objects and crowds" if ignored else ""),
        "",
        *_accuracy(content["accuracy"]),
        "",
        *_costs(content["error_costs"]),
        "",
        *_thresholds(content["scores"]),
    ]
    lines += _confusions(content["confusion"])
    lines += _sensitivity(content["sensitivity"])
    if "anchors" in content:
        lines += _anchors(content["anchors"])
    lines += _mistakes(content["mistakes"])
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _accuracy(table: Mapping[str, Any]) -> list[str]:
    columns = [key for key in next(iter(table.values())) if key != "objects"]
    rows = [["AP in % by size", "objects", *columns]]
    rows += [[size, f"{row['objects']:,}", *(_percent(row[key]) for key in columns)] for size, row in table.items()]
    return align(rows)


def _costs(costs: Mapping[str, Any]) -> list[str]:
    rows = [["what errors cost", "AP50 points", "errors"]]
    for kind, cost in costs["costs"].items():
        count = costs["counts"].get(kind)
        rows.append([kind, _percent(cost), "" if count is None else f"{count:,}"])
    return align(rows)


def _thresholds(scores: Mapping[str, Any]) -> list[str]:
    rows = [["best score threshold", "score", "precision", "recall", "F1"]]
    classes = scores["classes"]
    shown = sorted(classes, key=lambda name: -classes[name]["objects"])[:MOST]
    entries = [(name, classes[name]) for name in classes if name in shown] + [("all classes", scores["all"])]
    for name, one in entries:
        best = one["best"]
        cells = ["-"] * 4
        if best is not None:
            cells = [f"{best['threshold']:.3f}", *(_percent(best[key]) for key in ("precision", "recall", "f1"))]
        rows.append([name, *cells])
    lines = align(rows)
    if len(classes) > len(shown):
        lines.append(f"the {len(shown)} classes with most objects of {len(classes)}; analysis.json has all")
    return lines


def _confusions(confusion: Mapping[str, Any]) -> list[str]:
    names = confusion["columns"][:-1]
    found = [
        (count, names[row], names[column])
        for row, counts in enumerate(confusion["counts"][:-1])
        for column, count in enumerate(counts[:-1])
        if row != column and count
    ]
    if not found:
        return []
    found.sort(key=lambda one: -one[0])
    rows = [["taken for another class", "as", "times"]]
    rows += [[there, detected, f"{count:,}"] for count, there, detected in found[: MOST // 2]]
    return ["", *align(rows, left=2)]


def _mistakes(mistakes: Mapping[str, Any]) -> list[str]:
    images = mistakes["images"]
    if not images:
        return []
    rows = [[f"most mistakes at a score of {mistakes['threshold']:.3f}", "missed", "wrong"]]
    for one in images[: MOST // 2]:
        name = Path(one["file"]).name if "file" in one else str(one["image_id"])
        rows.append([name, f"{one['missed']:,}", f"{one['wrong']:,}"])
    lines = ["", *align(rows)]
    if len(images) > MOST // 2:
        lines.append(f"{MOST // 2} of {len(images):,} images with mistakes; analysis.json has all")
    return lines


def _sensitivity(sensitivity: Mapping[str, Any]) -> list[str]:
    lines = [""]
    for characteristic in ("size", "aspect ratio"):
        parts = sensitivity["all"][characteristic]
        rows = [[f"normalized AP by {characteristic}", *parts], ["all", *(_percent(ap) for ap in parts.values())]]
        lines += align(rows)
    return lines


def _anchors(anchors: Mapping[str, Any]) -> list[str]:
    rows = [["anchors of an image, mean", "positives", "negatives", "objects' best IoU"]]
    for name, one in anchors["stages"].items():
        numbers = (one["mean_positives"], one["mean_negatives"])
        best = one["mean_best_iou_of_objects"]
        cells = ["-" if n is None else f"{n:,.1f}" for n in numbers]
        rows.append([name, *cells, "-" if best is None else f"{best:.3f}"])
    surviving = anchors["mean_surviving_negatives"]
    rows.append(["  after the filter", "", "-" if surviving is None else f"{surviving:,.1f}", ""])
    return ["", *align(rows)]
