"""Speeds as a table, and as numbers for JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..detectors.published import Published
from ..text_table import align
from .measure import SpeedReport, SpeedRow

HEAD: tuple[str, ...] = (
    "model",
    "paper, batch 1",
    "input",
    "classes",
    "batch",
    "images/s",
    "quartiles",
    "ms/image",
    "detections",
)


def format_table(report: SpeedReport) -> str:
    """A line for each detector and batch size; the papers' figures stand in a detector's first line, in images per
    second, and below what they were measured on."""
    lines, shown = [HEAD], dict[str, str]()
    previous = None
    for row in report.rows:
        first = row.contestant != previous
        previous = row.contestant
        published = row.contestant.published if first else []
        shown |= {figure.device: f"{figure.device} ({figure.paper.name}, {figure.table})" for figure in published}
        lines.append(_cells(row, published, first))
    notes = ["", f"papers: {'; '.join(shown.values())}"] if shown else []
    runtime = report.settings.get("runtime", "torch")
    head = [report.machine.line(), *([] if runtime == "torch" else [f"networks in {runtime}"])]
    return "\n".join([*head, "", *align(lines, left=2), *notes])


def to_dict(report: SpeedReport) -> dict[str, Any]:
    """Plain lists and numbers for JSON."""
    return {
        "machine": dataclasses.asdict(report.machine),
        "settings": report.settings,
        "rows": [_plain(row) for row in report.rows],
    }


def _cells(row: SpeedRow, published: list[Published], first: bool) -> tuple[str, ...]:
    one = row.contestant
    figures = [f"{figure.images_per_second:.1f} {_short(figure)}" for figure in published]
    return (
        one.label if first else "",
        " / ".join(figures) or ("–" if first else ""),
        str(one.side),
        str(one.num_classes),
        str(row.batch_size),
        _three_digits(row.images_per_second),
        f"{_three_digits(row.low)}–{_three_digits(row.high)}",
        _three_digits(row.milliseconds),
        f"{row.detections:.0f}",
    )


def _short(figure: Published) -> str:
    """The device without its software: "Titan X (Pascal)"; with what sets the figure apart."""
    return f"{figure.device.partition(',')[0]} {figure.remark}".rstrip()


def _three_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _plain(row: SpeedRow) -> dict[str, Any]:
    one = row.contestant
    own = {field.name: getattr(row, field.name) for field in dataclasses.fields(row) if field.name != "contestant"}
    published = [
        {
            "value": figure.value,
            "unit": figure.unit,
            "images_per_second": figure.images_per_second,
            "device": figure.device,
            "remark": figure.remark,
            "paper": figure.paper.name,
            "table": figure.table,
        }
        for figure in one.published
    ]
    return {
        "model": one.name,
        "file": None if one.file is None else str(one.file),
        "input_size": one.side,
        "num_classes": one.num_classes,
        **own,
        "published": published,
    }
