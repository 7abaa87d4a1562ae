"""EFGRNet's feature-guided refinement: the second stage's features follow the first stage's predictions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from refinedet_ext.nn import DeformAlign

from ..blocks import MOMENTUM, cbr
from ..checks import check_choice
from ..init import init_kaiming, zeroed

# which of (dx, dy, dw, dh) the kernel's offsets come from
BOX_OFFSETS = {"position": (0, 1), "size": (2, 3), "box": (0, 1, 2, 3)}
OFFSET_SOURCES = ("position", "size", "box", "own", "dilated")


class FeatureGuidedRefinement(nn.Module):
    """EFGRNet's FGRM for one level (its figure 4): where to look, and where the kernel's taps stand.

        objectness logits -> max over anchors -> sigmoid = O;   F' = F * O + F              (equation 1)
        box offsets -> 1x1 convolution = offsets;   deformable 3x3 (F', offsets) -> BN -> ReLU   (equation 2)

    in_channels, out_channels: of the map F and of the result. anchors: per cell. dilation: of the 3x3 convolution.
    offset_source: "position" (the anchors' dx and dy; the paper's choice), "size" (dw and dh) or "box" (all four):
        a 1x1 convolution of the first stage's raw box offsets. "own": a 3x3 convolution of F' itself, as deformable
        convolution is originally. "dilated": no offsets.
    offset_act: the released code's 1x1 convolution has no bias and is followed by batch norm and ReLU, so that taps
        move down and right only; False is the paper's plain convolution, which starts at zero. Read by the three
        sources that are box offsets.
    objectness: False leaves out equation 1.

    forward(x, logits, deltas): x (B, in_channels, H, W), logits (B, 2 * anchors, H, W), deltas (B, 4 * anchors, H, W),
    as the first stage's convolutions give them. Returns (B, out_channels, H, W). Gradients flow into all three.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        anchors: int,
        *,
        dilation: int,
        offset_source: str = "position",
        offset_act: bool = True,
        objectness: bool = True,
    ) -> None:
        super().__init__()
        check_choice(offset_source, "offset_source", OFFSET_SOURCES)
        self.offset_source = offset_source
        self.objectness = objectness
        self.offset: nn.Module | None = None
        taps = 9
        if offset_source in BOX_OFFSETS:
            inputs = anchors * len(BOX_OFFSETS[offset_source])
            if offset_act:
                self.offset = cbr(inputs, 2 * taps, 1)
                init_kaiming(self.offset)
            else:
                self.offset = zeroed(nn.Conv2d(inputs, 2 * taps, 1))
        elif offset_source == "own":
            self.offset = zeroed(nn.Conv2d(in_channels, 2 * taps, 3, padding=dilation, dilation=dilation))
        layer = nn.Conv2d if self.offset is None else DeformAlign
        self.align = layer(in_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, momentum=MOMENTUM)

    def forward(self, x: Tensor, logits: Tensor, deltas: Tensor) -> Tensor:
        if self.objectness:
            x = x + x * objectness_map(logits)
        return F.relu(self.norm(self._convolve(x, deltas)))

    def _convolve(self, x: Tensor, deltas: Tensor) -> Tensor:
        if self.offset is None:
            return self.align(x)
        if self.offset_source == "own":
            return self.align(x, self.offset(x))
        return self.align(x, self.offset(box_offsets(deltas, self.offset_source)))


def objectness_map(logits: Tensor) -> Tensor:
    """The largest object probability of a cell's anchors, (B, 2 * anchors, H, W) -> (B, 1, H, W).

    Of the raw object logits, by a sigmoid: not the softmax that the loss and the filter use.
    """
    return logits[:, 1::2].amax(dim=1, keepdim=True).sigmoid()


def box_offsets(deltas: Tensor, source: str) -> Tensor:
    """The channels of a map of box offsets that `source` names: all anchors' dx, then all dy, and so on."""
    return torch.cat([deltas[:, coordinate::4] for coordinate in BOX_OFFSETS[source]], dim=1)
