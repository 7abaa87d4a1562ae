"""match_anchors, filter_anchors."""

from __future__ import annotations

import torch
from card import BLUE, GREEN, GREY, ORANGE, PINK, PLATE, QUIET, bare, box, card, cells, image_axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import refinedet_ext as rx


def match_anchors() -> Figure:
    """Anchors of one size on a grid, two objects: one that reaches the threshold, one that is too small for it."""
    side = 36.0
    centers = [(x, y) for y in (20.0, 40.0, 60.0, 80.0) for x in (20.0, 40.0, 60.0, 80.0, 100.0)]
    anchors = torch.tensor([[x - side / 2, y - side / 2, x + side / 2, y + side / 2] for x, y in centers])
    objects = torch.tensor([[20.0, 17.0, 64.0, 53.0], [93.0, 70.0, 109.0, 88.0]])
    labels = torch.tensor([7, 3])
    matches = rx.match_anchors(anchors, objects, labels, torch.tensor([0, 2]), positive_iou=0.5, negative_iou=0.3)
    figure, (before, after) = card(4.9, 2, 1)
    colors = {0: BLUE, 1: ORANGE}
    for axes, title in ((before, "anchors (one drawn in full) and ground truths"), (after, "labels")):
        image_axes(axes, 120, 100, title)
        for row, corners in enumerate(objects):
            box(axes, corners, colors[row], f"class {labels[row]}" if axes is before else "", place="above", fill=0.15)
    for index, (x, y) in enumerate(centers):
        before.plot(x, y, "+", color=QUIET, markersize=6)
        label = int(matches.labels[0, index])
        color = colors[int(matches.gt_index[0, index])] if label > 0 else PINK if label < 0 else GREY
        after.text(
            x,
            y,
            str(label),
            ha="center",
            va="center",
            color=color,
            fontweight="bold" if label else "normal",
            fontsize=10 if label else 8,
            bbox=PLATE if label <= 0 else None,
        )
        if label > 0:
            box(after, anchors[index], color, width=1, dashed=True)
    box(before, anchors[int(matches.labels[0].argmax())], QUIET, dashed=True, width=1)
    forced = int((matches.gt_index[0] == 1).int().argmax())
    after.set_xlabel(
        f"class 3 keeps its best anchor although their IoU is {float(matches.iou[0, forced]):.2f}", color=ORANGE
    )
    return figure


def filter_anchors() -> Figure:
    """A map of 6 by 10 anchors, as a first stage sees two objects."""
    theta, rows, columns = 0.99, 6, 10
    y, x = torch.meshgrid(torch.arange(float(rows)), torch.arange(float(columns)), indexing="ij")
    near = torch.minimum((x - 2).square() + (y - 2).square(), (x - 7).square() + 1.5 * (y - 4).square())
    margin = 2.4 - 1.9 * near
    logits = torch.stack([torch.zeros_like(margin), margin], dim=-1).reshape(1, -1, 2)
    kept = rx.filter_anchors(logits, theta)
    count = int(kept.count)
    figure, (grid, row) = card(3.6, 2, 1, height_ratios=(5, 1.2))
    bare(grid, f"background confidence in percent; kept where it is at most {100 * theta:.0f}")
    grid.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal")
    background = (100 * logits.softmax(-1)[0, :, 0]).reshape(rows, columns)
    mask = rx.filter_anchors_mask(logits, theta).reshape(rows, columns)
    values = [[f"{v:.1f}" if 98.5 < v < 99.95 else f"{v:.0f}" for v in line] for line in background.tolist()]
    cells(grid, values, colors=[["#cfe6d8" if on else "white" for on in line] for line in mask.tolist()])
    for r in range(rows):
        for c in range(columns):
            if mask[r, c]:
                grid.add_patch(Rectangle((c, r), 1, 1, fill=False, edgecolor=GREEN, linewidth=1.6, zorder=4))
    bare(row, f"index: the kept anchors in order, then -1; count: {count}")
    shown = [*kept.index[0, :5].tolist(), "...", *kept.index[0, count - 1 : count + 2].tolist(), "..."]
    row.set(xlim=(0, len(shown)), ylim=(1, 0), aspect="equal")
    cells(row, [shown], colors=[[None if v in (-1, "...") else "#cfe6d8" for v in shown]])
    return figure
