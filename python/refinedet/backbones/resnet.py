"""Residual networks with bottlenecks: ResNet-50, -101, -152 and ResNeXt, in Caffe's and in torchvision's form."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_choice, check_integer
from ..init import init_kaiming
from .backbone_file import check_style
from .bottleneck import Bottleneck
from .extra_stages import BottleneckStage, ExtendedBackbone, ExtraStage
from .layers import BN_EPS, BN_MOMENTUM

STYLES = ("caffe", "torchvision")
RESNET50, RESNET101, RESNET152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
EXPANSION = 4
# RefineDet's one stage behind res5
RES6 = BottleneckStage(mid_channels=128, out_channels=512)

logger = logging.getLogger(__name__)


class ResNet(ExtendedBackbone):
    """Stages res2 to res5 and the extra stages. Maps: res3 (stride 8), res4 (16), res5 (32), one per extra stage.

        image -> conv1 7x7/2 -> pool 3x3/2 -> layer1 -> layer2 -> layer3 -> layer4 -> extras...
                                               res2      res3      res4      res5

    depths: bottlenecks of each stage, (3, 4, 23, 3) for ResNet-101.
    style: "caffe" (the original networks): the stride is on a stage's first 1x1, the pool has no padding and rounds
        up. "torchvision": the stride is on the 3x3, the pool is padded by 1. A map has the same size in both.
    width: channels of conv1 and of a bottleneck's 3x3 in res2; each later stage has twice as many. A stage's output is
        4 times as wide: 512, 1024 and 2048 for res3 to res5 with the usual 64.
    cardinality, group_width: groups of the 3x3 and channels of each in res2 where `width` is 64. ResNeXt-101 32x8d:
        cardinality=32, group_width=8. One group makes an ordinary ResNet.
    extras: the stages behind res5, in order; the default is RefineDet's res6, a bottleneck from 2048 to 512 channels.
    momentum: of the batch norms; they use the batch's statistics in train mode.

    Trunk weights start as He et al. have them (normal, fan out). Key names are torchvision's, and so are those of the
    public files with Caffe's weights: a name does not tell the two styles apart. A file that `refinedet convert` wrote
    does; with any other the caller has to. Their pixels differ too: Caffe's networks read BGR minus (104, 117, 123),
    the others `torchvision_weights.TORCHVISION_PIXELS`.
    """

    classifier_keys = ("fc.weight", "fc.bias")

    def __init__(
        self,
        depths: Sequence[int] = RESNET101,
        *,
        style: str = "caffe",
        width: int = 64,
        cardinality: int = 1,
        group_width: int = 64,
        extras: Iterable[ExtraStage] = (RES6,),
        momentum: float = BN_MOMENTUM,
    ) -> None:
        super().__init__()
        check_choice(style, "style", STYLES)
        if len(depths) != 4:
            raise ValueError(f"depths: expected one number for each of 4 stages, got {tuple(depths)}")
        for name, value in (("width", width), ("cardinality", cardinality), ("group_width", group_width)):
            check_integer(value, name, 1)
        self.style = style
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=BN_EPS, momentum=momentum)
        channels = [width * EXPANSION * 2**stage for stage in range(4)]
        stages = []
        for stage, depth in enumerate(depths):
            check_integer(depth, f"depths[{stage}]", 1)
            planes = width * 2**stage
            blocks = [
                Bottleneck(
                    (channels[stage - 1] if stage else width) if block == 0 else channels[stage],
                    planes * group_width // 64 * cardinality,
                    channels[stage],
                    stride=2 if stage and block == 0 else 1,
                    stride_on="conv1" if style == "caffe" else "conv2",
                    groups=cardinality,
                    momentum=momentum,
                )
                for block in range(depth)
            ]
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        init_kaiming(self)
        self.extend(channels[1:], (8, 16, 32), extras)

    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        x = F.relu(self.bn1(self.conv1(images)), inplace=True)
        if self.style == "caffe":
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        else:
            x = F.max_pool2d(x, 3, 2, padding=1)
        res3 = self.layer2(self.layer1(x))
        res4 = self.layer3(res3)
        return [res3, res4, self.layer4(res4)]

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """As `ExtendedBackbone.load_weights`; ValueError if the file says that its weights are of the other style.

        A published checkpoint does not say; it is logged as a warning that its weights are taken for this style.
        """
        if not check_style(path, self.style):
            logger.warning(
                "%s does not say whether its weights are Caffe's or torchvision's: taken as %s. "
                "`refinedet convert --from torchvision-resnet101` (or whichever it is) writes a file that does",
                path,
                self.style,
            )
        super().load_weights(path)
