"""Box coding: decode_boxes (and encode_boxes), decode_cascade."""

from __future__ import annotations

import torch
from card import BLUE, GREY, INK, ORANGE, PLATE, arrow, bare, box, card
from matplotlib.figure import Figure

import refinedet_ext as rx

ANCHOR = torch.tensor([[14.0, 26.0, 54.0, 66.0]])


def center(corners: torch.Tensor) -> tuple[float, float]:
    x1, y1, x2, y2 = corners.tolist()
    return (x1 + x2) / 2, (y1 + y2) / 2


def decode_boxes() -> Figure:
    deltas = torch.tensor([[3.5, -1.25, 1.6, -1.1]])
    decoded = rx.decode_boxes(deltas, ANCHOR)[0]
    figure, (axes,) = card(3.5)
    bare(axes)
    axes.set(xlim=(2, 88), ylim=(78, 14), aspect="equal")
    box(axes, ANCHOR[0], BLUE, "anchor", place="bottom", fill=0.08)
    box(axes, decoded, ORANGE, fill=0.08)
    axes.annotate(
        "box",
        decoded[2:].tolist(),
        (-3, 2),
        textcoords="offset points",
        ha="right",
        color=ORANGE,
        fontsize=8,
        fontweight="bold",
    )
    start, end = center(ANCHOR[0]), center(decoded)
    axes.plot(*start, "o", color=BLUE, markersize=4)
    axes.plot(*end, "o", color=ORANGE, markersize=4)
    arrow(axes, start, (end[0], start[1]))
    arrow(axes, (end[0], start[1]), end)
    axes.text((start[0] + end[0]) / 2, start[1] + 2, "$v_0\\,dx\\,w$", ha="center", va="top")
    axes.text(end[0] + 1.5, (start[1] + end[1]) / 2, "$v_1\\,dy\\,h$", va="center", bbox=PLATE)
    x1, y1, x2, y2 = ANCHOR[0].tolist()
    axes.annotate("", (x1, y2 + 5), (x2, y2 + 5), arrowprops={"arrowstyle": "<->", "color": BLUE})
    axes.text((x1 + x2) / 2, y2 + 7, "$w$", ha="center", va="top", color=BLUE)
    axes.annotate("", (x1 - 5, y1), (x1 - 5, y2), arrowprops={"arrowstyle": "<->", "color": BLUE})
    axes.text(x1 - 7, (y1 + y2) / 2, "$h$", ha="right", va="center", color=BLUE)
    x1, y1, x2, y2 = decoded.tolist()
    axes.annotate("", (x1, y1 - 5), (x2, y1 - 5), arrowprops={"arrowstyle": "<->", "color": ORANGE})
    axes.text((x1 + x2) / 2, y1 - 7, "$w\\,\\exp(v_2\\,dw)$", ha="center", color=ORANGE)
    axes.annotate("", (x2 + 5, y1), (x2 + 5, y2), arrowprops={"arrowstyle": "<->", "color": ORANGE})
    axes.text(x2 + 7, (y1 + y2) / 2, "$h\\,\\exp(v_3\\,dh)$", va="center", rotation=90, color=ORANGE)
    return figure


def decode_cascade() -> Figure:
    anchors = torch.tensor([[8.0, 20.0, 48.0, 60.0]])
    arm, odm = torch.tensor([[[4.5, 1.6, 1.4, -0.6]]]), torch.tensor([[[2.6, -0.7, -0.5, 0.7]]])
    refined = rx.decode_boxes(arm[0], anchors)[0]
    final = rx.decode_cascade(arm, odm, anchors)[0, 0]
    figure, (axes,) = card(3.2)
    bare(axes)
    axes.set(xlim=(4, 88), ylim=(72, 13), aspect="equal")
    box(axes, anchors[0], GREY, "anchor", place="above")
    box(axes, refined, BLUE, "refined anchor", place="below")
    box(axes, final, ORANGE, "box", fill=0.12, width=2)
    points = [center(anchors[0]), center(refined), center(final)]
    for (x, y), color in zip(points, (GREY, BLUE, ORANGE), strict=True):
        axes.plot(x, y, "o", color=color, markersize=4)
    arrow(axes, points[0], points[1], INK)
    arrow(axes, points[1], points[2], INK)
    axes.annotate("arm_deltas", points[0], (10, -14), textcoords="offset points", color=INK, ha="center", va="top")
    axes.annotate("odm_deltas", points[1], (26, 14), textcoords="offset points", color=INK, ha="center")
    return figure
