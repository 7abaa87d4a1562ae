"""The papers' figures in words: a cell of the table of models, the lines of `refinedet info NAME`."""

from __future__ import annotations

from ..data.voc import VOC_CLASSES
from .published import COCO_PARTS, PAPERS, PUBLISHED, Published


def published_cell(name: str) -> str:
    """The accuracy of a model for a table, such as "VOC07 81.4, COCO 33.2 (EFGRNet)"; "–" where there is none.

    At one image size and without other detection data.
    """
    rows = [row for row in PUBLISHED.get(name, ()) if row.metric != "speed" and not (row.multi_scale or row.pretrained)]
    figures = [f"{row.dataset.split()[0]} {row.value:.1f}" + (f" {row.remark}" if row.remark else "") for row in rows]
    papers = dict.fromkeys(row.paper.name for row in rows)
    return f"{', '.join(figures)} ({', '.join(papers)})" if rows else "–"


def published_lines(name: str) -> list[str]:
    """All figures of a model, a line for each with where it stands, and one for its parts."""
    lines = []
    for row in PUBLISHED.get(name, ()):
        lines.append(f"{_figure(row)}: {row.paper.name}, {row.table} ({row.paper.url})")
        if row.parts:
            names = COCO_PARTS if row.metric == "AP" else VOC_CLASSES
            lines.append("  " + ", ".join(f"{n} {value:.1f}" for n, value in zip(names, row.parts, strict=True)))
    return lines


def sources() -> str:
    """What the cells mean, and the papers, as Markdown."""
    papers = ", ".join(f"[{paper.name}]({paper.url})" for paper in PAPERS)
    return (
        "Published: mAP in percent on the test sets of VOC07 and VOC12, AP on COCO's test-dev, one image size; from "
        f"the papers\n{papers}. Not reproduced here."
    )


def _figure(row: Published) -> str:
    remark = f" {row.conditions}" if row.conditions else ""
    if row.metric == "speed":
        return f"speed {row.value:g} {row.unit}{remark} on {row.device}"
    return f"{row.metric} {row.value:.1f}{remark} on {row.dataset}"
