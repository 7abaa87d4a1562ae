"""nms, multiclass_nms, detect."""

from __future__ import annotations

import torch
from card import BLUE, EDGE, GREEN, GREY, INK, ORANGE, PINK, QUIET, arrow, bare, box, card, image_axes, plot_axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

import refinedet_ext as rx

CROWD = torch.tensor(
    [
        [8.0, 14.0, 46.0, 66.0],
        [14.0, 18.0, 52.0, 72.0],
        [4.0, 9.0, 38.0, 60.0],
        [30.0, 30.0, 74.0, 86.0],
        [66.0, 8.0, 96.0, 48.0],
        [62.0, 14.0, 90.0, 54.0],
    ]
)
SCORES = torch.tensor([0.92, 0.71, 0.55, 0.83, 0.64, 0.88])
CLASSES = torch.tensor([0, 0, 0, 1, 0, 0])


def nms() -> Figure:
    kept = rx.batched_nms(CROWD, SCORES, CLASSES, 0.5).tolist()
    figure, (before, after) = card(2.5, 1, 2)
    image_axes(before, 100, 100, "boxes, scores, idxs")
    image_axes(after, 100, 100, "what is kept: " + str(kept))
    for row, (corners, score) in enumerate(zip(CROWD, SCORES, strict=True)):
        color = ORANGE if CLASSES[row] else BLUE
        place = {1: "bottom", 2: "above", 3: "bottom", 4: "above", 5: "bottom"}.get(row, "top")
        box(before, corners, color, f"{row}: {score:.2f}", place=place)
        if row in kept:
            box(after, corners, color, f"{row}: {score:.2f}", place=place, fill=0.12)
        else:
            box(after, corners, GREY, dashed=True, width=1)
    return figure


def multiclass_nms() -> Figure:
    boxes = torch.tensor(
        [[[0.0, 0.0, 10.0, 10.0], [3.0, 0.0, 13.0, 10.0], [4.5, 0.0, 14.5, 10.0], [30.0, 0.0, 40.0, 10.0]]]
    )
    scores = torch.tensor([[[0.9], [0.8], [0.7], [0.6]]])
    figure, (curve, bars) = card(4.3, 2, 1, height_ratios=(1, 1.1))
    overlap = torch.linspace(0, 1, 201)
    threshold, sigma = 0.45, 0.5
    weights = {
        "hard": (torch.where(overlap > threshold, 0.0, 1.0), BLUE),
        "linear": (torch.where(overlap > threshold, 1 - overlap, 1.0), ORANGE),
        "gaussian": (torch.exp(-(overlap**2) / sigma), GREEN),
    }
    plot_axes(curve, "what a score is multiplied by")
    for method, (weight, color) in weights.items():
        curve.plot(overlap, weight, color=color, label=method, linewidth=1.8)
    curve.axvline(threshold, color=GREY, linestyle=":", linewidth=1)
    curve.annotate("iou_threshold", (threshold, 0.06), (4, 0), textcoords="offset points", color=QUIET)
    curve.set(xlabel="IoU with a better box that was kept", ylim=(-0.04, 1.08), xlim=(0, 1))
    curve.legend(frameon=False, loc="lower left")
    plot_axes(bars, "four boxes of a class, the first three in a crowd")
    settings = {"iou_threshold": threshold, "sigma": sigma, "keep_top_k": 4, "score_threshold": 0.0}
    for place, (method, (_, color)) in enumerate(weights.items()):
        found = rx.multiclass_nms(boxes, scores, method=method, **settings)
        after = [0.0] * 4
        for corners, score in zip(found.boxes[0], found.scores[0], strict=True):
            same = (boxes[0] == corners).all(dim=1)
            if score > 0:
                after[int(same.int().argmax())] = float(score)
        at = [row + 0.2 * place for row in range(4)]
        bars.bar([x + 0.25 for x in at], after, 0.18, color=color)
        for x, value in zip(at, after, strict=True):
            if value == 0:
                bars.text(x + 0.25, 0.02, "\N{MULTIPLICATION SIGN}", ha="center", color=color, fontweight="bold")
    for row, value in enumerate(scores[0, :, 0].tolist()):
        bars.bar(
            row + 0.02, value, 0.18, color=EDGE, edgecolor=GREY, linewidth=0.6, label="before" if row == 0 else None
        )
    bars.set(xticks=[row + 0.33 for row in range(4)], xticklabels=[f"box {row}" for row in range(4)], ylabel="score")
    bars.legend(frameon=False, loc="upper right")
    return figure


def detect() -> Figure:
    figure, (axes,) = card(4.5)
    bare(axes)
    axes.set(xlim=(0, 100), ylim=(100, 0))
    steps = [
        ("arm_logits (B, A, 2)", "filter_anchors", "leaves out the sure background", "6,375 anchors", BLUE),
        ("odm_logits (B, A, 1 + C)", "softmax", "of anchors that can reach score_threshold", "390 anchors", GREEN),
        (
            "arm_deltas,\nodm_deltas, anchors",
            "decode_cascade",
            "of anchors with candidates",
            "1,400 candidates",
            ORANGE,
        ),
        ("", "multiclass_nms", "the best top_k, suppression by class", "the best 400", PINK),
    ]
    for row, (takes, name, text, count, color) in enumerate(steps):
        y = 4 + row * 22
        axes.add_patch(
            FancyBboxPatch(
                (36, y),
                62,
                14,
                boxstyle="round,pad=0,rounding_size=2",
                facecolor="white",
                edgecolor=color,
                linewidth=1.5,
            )
        )
        axes.text(67, y + 4.6, name, ha="center", va="center", fontweight="bold", color=color)
        axes.text(67, y + 10, text, ha="center", va="center", fontsize=7.2)
        axes.text(0, y + 7, takes, va="center", fontsize=7.4)
        if takes:
            arrow(axes, (31, y + 7), (35.5, y + 7), QUIET)
        arrow(axes, (67, y + 14), (67, y + 21.5), INK)
        axes.text(69, y + 17.8, ("of " if row == 0 else "") + count, va="center", fontsize=7.4, color=QUIET)
    axes.text(
        67,
        96,
        "boxes, scores, labels (B, keep_top_k), count (B)",
        ha="center",
        va="center",
        fontweight="bold",
        fontsize=7.6,
    )
    return figure
