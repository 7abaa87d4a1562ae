"""Class and box predictions per level, flattened in the anchors' order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..checks import check_choice


def flatten_maps(maps: Sequence[Tensor], width: int) -> Tensor:
    """Maps (B, anchors * width, H, W) of all levels -> (B, A, width): level, row, column, anchor of the cell."""
    levels = []
    for m in maps:
        batch, channels, rows, columns = m.shape
        anchors = rows * columns * (channels // width)
        levels.append(m.permute(0, 2, 3, 1).reshape(batch, anchors, width))
    return torch.cat(levels, dim=1)


BRANCHES = ("both", "cls", "loc")


class BoxHeads(nn.Module):
    """Two sibling convolutions per level: `num_classes` scores and 4 box offsets for each anchor of a cell.

    in_channels: channels of the maps. anchors: anchors per cell of each level. num_classes: including background.
    kernel_size: of the convolutions; padded so that the maps keep their size.
    blocks: modules between each map and its two convolutions, for detectors whose heads are deeper; each yields as
        many channels as `in_channels` says.
    loc_blocks: modules of their own before the box offsets; None lets them share `blocks` with the scores.
    branches: "cls" or "loc" has the scores or the offsets alone, for `level_maps`.

    forward(maps) returns scores (B, A, num_classes) and offsets (B, A, 4); channel a * num_classes + c of a level's
    map is class c of anchor a.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        anchors: Sequence[int],
        num_classes: int,
        *,
        kernel_size: int = 3,
        blocks: Sequence[nn.Module] | None = None,
        loc_blocks: Sequence[nn.Module] | None = None,
        branches: str = "both",
    ) -> None:
        super().__init__()
        check_choice(branches, "branches", BRANCHES)
        if len(in_channels) != len(anchors):
            raise ValueError(f"anchors: expected one number for each of {len(in_channels)} levels, got {list(anchors)}")
        self.num_classes = num_classes
        self.blocks = nn.ModuleList(blocks or [nn.Identity() for _ in in_channels])
        self.loc_blocks = None if loc_blocks is None else nn.ModuleList(loc_blocks)
        self.cls = nn.ModuleList(
            nn.Conv2d(width, count * num_classes, kernel_size, padding=kernel_size // 2)
            for width, count in zip(in_channels, anchors, strict=True)
            if branches != "loc"
        )
        self.loc = nn.ModuleList(
            nn.Conv2d(width, count * 4, kernel_size, padding=kernel_size // 2)
            for width, count in zip(in_channels, anchors, strict=True)
            if branches != "cls"
        )

    def level_maps(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Scores and offsets as maps, (B, anchors * num_classes, H, W) and (B, anchors * 4, H, W) per level.

        A branch that is not there gives an empty list.
        """
        if len(maps) != len(self.blocks):
            raise ValueError(f"maps: expected {len(self.blocks)} levels, got {len(maps)}")
        inputs = [block(x) for block, x in zip(self.blocks, maps, strict=True)]
        scores = [conv(x) for conv, x in zip(self.cls, inputs, strict=False)]
        if self.loc_blocks is not None:
            inputs = [block(x) for block, x in zip(self.loc_blocks, maps, strict=True)]
        offsets = [conv(x) for conv, x in zip(self.loc, inputs, strict=False)]
        return scores, offsets

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        scores, offsets = self.level_maps(maps)
        return flatten_maps(scores, self.num_classes), flatten_maps(offsets, 4)
