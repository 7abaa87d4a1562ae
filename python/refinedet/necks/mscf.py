"""Multi-scale contextual features from the downsampled image (EFGRNet, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import cbr


class MultiScaleContext(nn.Module):
    """EFGRNet's MSCF: features of the image itself, seen with several dilations (its figure 3).

        image -> 3 max pools -> 3x3 -> 1x1 -+-> 1x1 -> 3x3, dilation 1 -+
                                            +-> 1x1 -> 3x3, dilation 2 -+-> concatenate -> 1x1
                                            +-> 1x1 -> 3x3, dilation 4 -+

    out_channels: channels of the result; the first two layers have a quarter of them, each branch a sixteenth.
    dilations: one branch each; the paper's is (1, 2, 4), its ablation has (1,) and (1, 2).

    Every convolution is followed by batch norm and ReLU, the last one by batch norm alone. forward takes images
    (B, 3, H, W) and returns (B, out_channels, H/8, W/8).
    """

    def __init__(self, out_channels: int = 512, dilations: Sequence[int] = (1, 2, 4)) -> None:
        super().__init__()
        if not dilations or not all(isinstance(d, int) and d >= 1 for d in dilations):
            raise ValueError(f"dilations: expected one or more integers of at least 1, got {tuple(dilations)}")
        if out_channels < 16 or out_channels % 16:
            raise ValueError(f"out_channels: expected a multiple of 16, got {out_channels}")
        stem, branch = out_channels // 4, out_channels // 16
        self.stem = nn.Sequential(cbr(3, stem, 3), cbr(stem, stem, 1))
        self.branches = nn.ModuleList(
            nn.Sequential(cbr(stem, branch, 1), cbr(branch, branch, 3, dilation=d)) for d in dilations
        )
        self.fuse = cbr(branch * len(dilations), out_channels, 1, activation=False)

    def forward(self, images: Tensor) -> Tensor:
        for _ in range(3):
            images = F.max_pool2d(images, 2)
        x = self.stem(images)
        return self.fuse(torch.cat([branch(x) for branch in self.branches], dim=1))
