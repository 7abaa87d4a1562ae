"""The light head of RefineDetLite (section 3.2): features for the predictions at the price of 1x1 convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from ..backbones.layers import conv_bn


class LightHead(nn.Module):
    """A 1x1 convolution and a narrow bottleneck side by side, summed.

        x -+- 1x1 ------------------+- sum
           +- 1x1 -> 3x3 -> 1x1 ----+

    Every convolution has batch norm and ReLU. The paper gives no widths; 256 and 128 fit its times.

    channels: of the output. inner: of the bottleneck.
    """

    def __init__(self, in_channels: int, channels: int = 256, inner: int = 128) -> None:
        super().__init__()
        self.direct = conv_bn(in_channels, channels, 1)
        self.bottleneck = nn.Sequential(
            conv_bn(in_channels, inner, 1),
            conv_bn(inner, inner, 3),
            conv_bn(inner, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.direct(x) + self.bottleneck(x)
