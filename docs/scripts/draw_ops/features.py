"""deconv_sum, deform_align."""

from __future__ import annotations

import torch
from card import BLUE, GREEN, GREY, INK, ORANGE, QUIET, arrow, bare, card, cells
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import refinedet_ext as rx

TINTS = ("#cfe0f2", "#f6d9c6", "#cfe6d8", "#eed6e4")


def _numbers(values: torch.Tensor) -> list[list[str]]:
    return [[f"{value:g}" for value in line] for line in values.tolist()]


def deconv_sum() -> Figure:
    """A map of 2 by 2 onto a lateral one of 3 by 4: the last row falls away."""
    coarse = torch.tensor([[[[1.0, 2.0], [3.0, -1.0]]]])
    weight = torch.tensor([[[[1.0, 2.0], [0.0, -1.0]]]])
    lateral = torch.tensor([[[[0.0, -1.0, 2.0, 0.0], [1.0, 3.0, 0.0, 1.0], [-5.0, 0.0, 2.0, 1.0]]]])
    up = torch.nn.functional.conv_transpose2d(coarse, weight, stride=2)[0, 0]
    out = rx.deconv_sum(coarse, weight, None, lateral, activation="relu")[0, 0]
    figure, (axes,) = card(3.8)
    bare(axes)
    axes.set(xlim=(-0.2, 13.5), ylim=(10.6, -1.1), aspect="equal")
    tint = [[TINTS[0], TINTS[1]], [TINTS[2], TINTS[3]]]
    fine = [[tint[r // 2][c // 2] for c in range(4)] for r in range(4)]

    def name(x: float, y: float, text: str) -> None:
        axes.text(x, y, text, ha="center", va="bottom", fontweight="bold", fontsize=8)

    name(1, -0.15, "input")
    cells(axes, _numbers(coarse[0, 0]), colors=tint)
    name(1, 4.1, "weight")
    cells(axes, _numbers(weight[0, 0]), (0, 4.3))
    arrow(axes, (2.5, 2), (4.2, 2), QUIET)
    axes.text(3.3, 1.7, "2x2,\nstride 2", ha="center", va="bottom", fontsize=7)
    name(6.5, -0.15, "upsampled")
    cells(axes, _numbers(up), (4.5, 0), colors=fine)
    axes.add_patch(Rectangle((4.5, 3), 4, 1, facecolor="white", alpha=0.75, linewidth=0))
    axes.plot((4.5, 8.5), (3.9, 3.1), color=GREY, linewidth=1)
    axes.text(6.5, 4.15, "cropped to lateral", ha="center", va="top", fontsize=7, color=QUIET)
    axes.text(8.85, 1.5, "+", ha="center", va="center", fontsize=14)
    name(11.2, -0.15, "lateral")
    cells(axes, _numbers(lateral[0, 0]), (9.2, 0))
    arrow(axes, (6.5, 5.2), (6.5, 6.9), QUIET)
    axes.text(6.8, 6.0, "bias, sum, ReLU, rounded once", va="center", fontsize=7.5)
    name(4.0, 8.3, "out")
    cells(axes, _numbers(out), (4.5, 7.3), colors=[[TINTS[2]] * 4] * 3)
    return figure


def deform_align() -> Figure:
    """The nine taps of one output pixel: where a convolution reads, where the center and the offsets send them."""
    generator = torch.Generator().manual_seed(4)
    offsets = (torch.rand(9, 2, generator=generator) - 0.5) * 1.3
    shift = torch.tensor([0.4, 2.8])  # (dy, dx)
    pixel = torch.tensor([2.0, 1.0])
    shown = 2  # the tap whose four pixels are drawn
    figure, (axes,) = card(3.4)
    bare(axes)
    axes.set(xlim=(-0.6, 7.6), ylim=(5.6, -0.5), aspect="equal")
    for y in range(5):
        for x in range(8):
            axes.plot(x, y, "o", color=GREY, markersize=2.5)
    for tap in range(9):
        start = pixel + torch.tensor([tap // 3 - 1.0, tap % 3 - 1.0])
        middle = start + shift
        moved = middle + offsets[tap]
        axes.plot((start[1], middle[1]), (start[0], middle[0]), color=GREEN, linewidth=0.9, alpha=0.45)
        arrow(axes, (middle[1], middle[0]), (moved[1], moved[0]), INK, width=0.9)
        axes.plot(start[1], start[0], "s", markeredgecolor=BLUE, color="white", markersize=7, zorder=4)
        axes.plot(moved[1], moved[0], "o", color=ORANGE, markersize=6, zorder=6)
        if tap == shown:
            y0, x0 = int(moved[0].floor()), int(moved[1].floor())
            axes.add_patch(Rectangle((x0, y0), 1, 1, facecolor=ORANGE, alpha=0.15, linewidth=0))
            for y in (y0, y0 + 1):
                for x in (x0, x0 + 1):
                    near = float((1 - (moved[0] - y).abs()) * (1 - (moved[1] - x).abs()))
                    axes.plot(x, y, "o", color=INK, markersize=3 + 9 * near, alpha=0.6, zorder=3)
            axes.text(x0 + 0.5, y0 - 0.2, "bilinear, of four pixels", fontsize=7.5, ha="center", va="bottom")
    arrow(axes, (pixel[1], pixel[0]), (pixel[1] + shift[1], pixel[0] + shift[0]), GREEN, width=2)
    legend = (("s", "white", BLUE, "taps of a convolution", 0.0), ("o", ORANGE, ORANGE, "where they read", 3.4))
    for marker, face, edge, text, x in legend:
        axes.plot(x - 0.3, 4.75, marker, color=face, markeredgecolor=edge, markersize=6)
        axes.text(x, 4.75, text, va="center", fontsize=7.5)
    for x, color, text in ((0.1, GREEN, "center, shared by the taps"), (3.8, INK, "offset, of each tap")):
        arrow(axes, (x - 0.6, 5.3), (x - 0.1, 5.3), color)
        axes.text(x, 5.3, text, va="center", fontsize=7.5)
    return figure
