"""The bottleneck block of the residual networks (He et al. 2016; with groups: Xie et al. 2017)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_choice, check_integer
from .layers import BN_EPS, BN_MOMENTUM, conv_bn

STRIDES_ON = ("conv1", "conv2")


class Bottleneck(nn.Module):
    """1x1 to `mid_channels`, 3x3, 1x1 to `out_channels`, each with batch norm, plus the shortcut; ReLU after the sum.

    stride_on: which convolution halves the map: "conv1", the first 1x1 (Caffe's networks), or "conv2", the 3x3
    (torchvision's).
    groups: of the 3x3 convolution.
    projection: True puts a 1x1 convolution with batch norm on the shortcut; None does where the shapes ask for it.

    The parameters have torchvision's names: conv1 to conv3, bn1 to bn3, downsample.0 and downsample.1.
    """

    def __init__(
        self,
        in_channels: int,
        mid_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        stride_on: str = "conv2",
        groups: int = 1,
        projection: bool | None = None,
        momentum: float = BN_MOMENTUM,
    ) -> None:
        super().__init__()
        check_choice(stride_on, "stride_on", STRIDES_ON)
        check_integer(mid_channels, "mid_channels", 1)
        if mid_channels % groups:
            raise ValueError(f"groups: expected a divisor of the {mid_channels} channels, got {groups}")
        needed = stride != 1 or in_channels != out_channels
        if projection is None:
            projection = needed
        elif needed and not projection:
            raise ValueError(
                f"projection: expected True for {in_channels} to {out_channels} channels, stride {stride}, got False"
            )
        stride1, stride2 = (stride, 1) if stride_on == "conv1" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, mid_channels, 1, stride1, bias=False)
        self.bn1 = nn.BatchNorm2d(mid_channels, eps=BN_EPS, momentum=momentum)
        self.conv2 = nn.Conv2d(mid_channels, mid_channels, 3, stride2, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(mid_channels, eps=BN_EPS, momentum=momentum)
        self.conv3 = nn.Conv2d(mid_channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels, eps=BN_EPS, momentum=momentum)
        self.downsample: nn.Module | None = None
        if projection:
            self.downsample = conv_bn(in_channels, out_channels, 1, stride, activation=None, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.bn3(self.conv3(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(out + shortcut, inplace=True)
