"""mine_hard_negatives, mined_cross_entropy, smooth_l1_box_loss."""

from __future__ import annotations

import torch
from card import BLUE, GREEN, GREY, INK, ORANGE, PINK, QUIET, bare, card, cells, plot_axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import refinedet_ext as rx


def mine_hard_negatives() -> Figure:
    loss = torch.tensor([[0.2, 1.4, 0.5, 3.1, 0.1, 2.2, 0.9, 0.3, 1.8, 0.4, 2.6, 0.15]])
    labels = torch.tensor([[0, 0, 0, 0, 0, 5, 0, -1, 0, 0, -1, 0]])
    chosen = rx.mine_hard_negatives(loss, labels, ratio=3.0)[0]
    figure, (axes,) = card(2.9)
    plot_axes(axes, "losses; with ratio = 3 the three largest of the background")
    kinds = [
        ("positive", BLUE, labels[0] > 0),
        ("chosen negative", ORANGE, chosen),
        ("negative", GREY, (labels[0] == 0) & ~chosen),
        ("ignored (label -1)", "#e3e6ea", labels[0] < 0),
    ]
    for name, color, rows in kinds:
        where = rows.nonzero().flatten()
        axes.bar(where, loss[0, where], 0.75, color=color, label=name, edgecolor=QUIET, linewidth=0.5)
    axes.set(xlabel="anchor", xticks=range(12))
    figure.legend(frameon=False, ncols=2, loc="outside lower center")
    return figure


def mined_cross_entropy() -> Figure:
    """Ten anchors of one image, four classes."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(1, 10, 4, generator=generator)
    logits[..., 0] += 1.2
    labels = torch.tensor([[0, 0, 2, 0, -1, 0, 0, 0, 0, 0]])
    eligible = torch.tensor([[True, True, True, False, True, True, False, True, False, True]])
    mined = rx.mined_cross_entropy(logits, labels, ratio=3.0, eligible=eligible)
    losses = torch.nn.functional.cross_entropy(logits.mT, labels.clamp(min=0), reduction="none")[0]
    figure, (axes,) = card(4.5)
    bare(axes)
    axes.set(xlim=(0, 11), ylim=(10.9, -0.8))
    for x, head in ((2, "logits (A, C)"), (5.2, "label"), (7.1, "loss"), (9.4, "in the sum")):
        axes.text(x, -0.15, head, ha="center", va="bottom", fontweight="bold")
    for row in range(10):
        label, chosen = int(labels[0, row]), bool(mined.chosen[0, row])
        read = label > 0 or (label == 0 and bool(eligible[0, row]))
        color = "#cfe0f2" if label > 0 else "#f6d9c6" if chosen else "white" if read else "#e3e6ea"
        text = [[f"{value:.1f}" if read else "" for value in logits[0, row].tolist()]]
        cells(axes, text, (0, row), colors=[[color] * 4])
        axes.text(5.2, row + 0.5, str(label), ha="center", va="center")
        axes.text(
            7.1,
            row + 0.5,
            f"{losses[row]:.2f}" if read else "–",
            ha="center",
            va="center",
            color=INK if chosen else QUIET,
            fontweight="bold" if chosen else "normal",
        )
        word = "positive" if label > 0 else "hard negative" if chosen else "easy" if read else "not looked at"
        ink = BLUE if label > 0 else ORANGE if chosen else QUIET
        axes.text(8.3, row + 0.5, word, va="center", color=ink)
    axes.text(7.1, 10.5, f"sum {float(mined.loss):.2f}", ha="center", va="center", fontweight="bold")
    axes.legend(
        handles=[Patch(facecolor="#e3e6ea", edgecolor=QUIET, label="label -1, or not eligible")],
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(-0.02, -0.03),
    )
    return figure


def smooth_l1_box_loss() -> Figure:
    """The loss of one coordinate as the op gives it, and its derivative by autograd."""
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    distance = torch.linspace(-3, 3, 241)
    figure, panels = card(2.6, 1, 2)
    for axes, title in zip(panels, ("loss of one coordinate", "its gradient"), strict=True):
        plot_axes(axes, title)
        axes.set(xlabel="deltas - encoded", xticks=(-3, -1, 0, 1, 3))
        axes.grid(color="#e1e5e9", linewidth=0.7)
    for beta, color in ((0.0, PINK), (1.0, BLUE), (2.0, GREEN)):
        deltas = torch.zeros(len(distance), 1, 4)
        deltas[:, 0, 0] = distance
        deltas.requires_grad_()
        index = torch.zeros(len(distance), 1, dtype=torch.int64)
        loss = rx.smooth_l1_box_loss(deltas, anchors, anchors, index, beta=beta)
        loss.sum().backward()
        panels[0].plot(distance, loss.detach(), color=color, linewidth=1.8, label=f"beta = {beta:g}")
        panels[1].plot(distance, deltas.grad[:, 0, 0], color=color, linewidth=1.8)
    panels[0].legend(frameon=False, loc="upper center", fontsize=7.5)
    return figure
