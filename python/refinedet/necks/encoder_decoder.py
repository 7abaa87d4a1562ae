"""PADet's decoder: from the coarsest map down, with skips from the encoder, and one map on top."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones.layers import conv_bn
from ..init import init_kaiming


class EncoderDecoder(nn.Module):
    """Encoder maps E1..En to decoded maps D1..Dn and D(n+1), all of `channels` (PADet, section 3.1).

        E1 --skip--> (+) -> D1        E1..En: the backbone's maps; skip: 1x1
                      ^
                      | upsample, 1x1     every D is followed by a 3x3 of its own; what goes on is the map before it
        E2 --skip--> (+) -> D2
                      ...
        En --skip--> ---- > Dn -> max pool -> D(n+1)

    in_channels: of the maps, the finest first. All convolutions have batch norm and ReLU; MSRA initialization.

    The paper leaves the skips and the down-sampling open: one 1x1 convolution each, and max pooling, of 3x3 with stride
    2 for maps of odd size (3 to 1), of 2x2 for even ones (2 to 1).
    """

    def __init__(self, in_channels: Sequence[int], channels: int = 256) -> None:
        super().__init__()
        self.skips = nn.ModuleList(conv_bn(width, channels) for width in in_channels)
        self.ups = nn.ModuleList(conv_bn(channels, channels) for _ in in_channels[1:])
        self.smooth = nn.ModuleList(conv_bn(channels, channels, 3) for _ in range(len(in_channels) + 1))
        init_kaiming(self)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        if len(maps) != len(self.skips):
            raise ValueError(f"maps: expected {len(self.skips)} levels, got {len(maps)}")
        skips = [skip(x) for skip, x in zip(self.skips, maps, strict=True)]
        decoded = [skips[-1]]
        for skip, up in zip(reversed(skips[:-1]), reversed(self.ups), strict=True):
            above = F.interpolate(decoded[0], size=skip.shape[2:], mode="bilinear", align_corners=False)
            decoded.insert(0, skip + up(above))
        decoded.append(halve(decoded[-1]))
        return [smooth(x) for smooth, x in zip(self.smooth, decoded, strict=True)]


def halve(x: Tensor) -> Tensor:
    """Max pooling to half the size, rounded down, but at least 1."""
    kernels = [2 if size % 2 == 0 else min(3, size) for size in x.shape[2:]]
    return F.max_pool2d(x, kernels, stride=2)
