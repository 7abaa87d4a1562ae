"""PADet's feature alignment: the features that are classified follow the promoted anchors."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from refinedet_ext.nn import DeformAlign

from ..checks import check_choice
from ..init import init_kaiming, zeroed
from .feature_guided import box_offsets

ALIGNMENTS = ("disentangled", "explicit", "location", "size", "implicit", "none")
TAPS = 9
# which box offsets the one 1x1 convolution of the explicit forms reads
EXPLICIT = {"explicit": "box", "location": "position", "size": "size"}


class FeatureAlignment(nn.Module):
    """PADet's FAM for one level (its section 3.3): a deformable 3x3 convolution, batch norm, ReLU.

        (c) disentangled   dx, dy of the anchors -> F, 1x1 -> one shift of all taps
                           dw, dh of the anchors -> G, 1x1 -> an offset of each tap
        (b) explicit       dx, dy, dw, dh        -> 1x1    -> an offset of each tap; "location" and "size" read a half
        (a) implicit       the features          -> 3x3    -> an offset of each tap

    channels: of the map and of the result. anchors: per cell. alignment: one of these.

    F and G start at zero, so that training starts from a plain convolution. The shift and the offsets of (c) reach the
    convolution apart: their sum is never stored.

    forward(x, deltas): x (B, channels, H, W), deltas (B, 4 * anchors, H, W) as the anchor promotion gives them.
    Gradients flow into both.
    """

    def __init__(self, channels: int, anchors: int, *, alignment: str = "disentangled") -> None:
        super().__init__()
        check_choice(alignment, "alignment", ALIGNMENTS[:-1])
        self.alignment = alignment
        self.shift: nn.Conv2d | None = None
        if alignment == "disentangled":
            self.shift = zeroed(nn.Conv2d(2 * anchors, 2, 1))
            self.offset = zeroed(nn.Conv2d(2 * anchors, 2 * TAPS, 1))
        elif alignment == "implicit":
            self.offset = zeroed(nn.Conv2d(channels, 2 * TAPS, 3, padding=1))
        else:
            inputs = anchors * (4 if alignment == "explicit" else 2)
            self.offset = zeroed(nn.Conv2d(inputs, 2 * TAPS, 1))
        self.align = DeformAlign(channels, channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.align.weight, mode="fan_out", nonlinearity="relu")
        self.norm = nn.BatchNorm2d(channels)
        init_kaiming(self.norm)

    def forward(self, x: Tensor, deltas: Tensor) -> Tensor:
        if self.shift is not None:
            center = self.shift(box_offsets(deltas, "position"))
            aligned = self.align(x, self.offset(box_offsets(deltas, "size")), center=center)
        elif self.alignment == "implicit":
            aligned = self.align(x, self.offset(x))
        else:
            aligned = self.align(x, self.offset(box_offsets(deltas, EXPLICIT[self.alignment])))
        return F.relu(self.norm(aligned))
