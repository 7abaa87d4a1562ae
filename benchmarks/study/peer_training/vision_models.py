"""torchvision's detectors for small inputs, by themselves or on EfficientNet-Lite0."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import RetinaNet, ssd300_vgg16, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.ssdlite import SSDLiteHead, _extra_block, _normal_init
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from .lite0 import LAST, MEAN, STD, STRIDED, lite0, load_published

SIDE = 320
PIXELS: dict[str, Any] = {"image_mean": [MEAN] * 3, "image_std": [STD] * 3}


def ssdlite_mobilenetv3(classes: int, weights: str | None, **options: Any) -> nn.Module:
    """As torchvision has it, 320 x 320. Its weights are a download: without any it starts from random ones."""
    return ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes, **options)


def ssd300_vgg(classes: int, weights: str | None, **options: Any) -> nn.Module:
    """As torchvision has it, 300 x 300, from random weights for the same reason."""
    return ssd300_vgg16(weights=None, weights_backbone=None, num_classes=classes, **options)


class SSDLiteTrunk(nn.Module):
    """Lite0's maps where torchvision takes MobileNet's: the expansion of the block that reaches stride 32, the last
    convolution, and four smaller ones."""

    def __init__(self, trunk: nn.Sequential, norm: Any) -> None:
        super().__init__()
        cut: Any = trunk[STRIDED[-1]]
        self.features = nn.Sequential(
            nn.Sequential(*trunk[: STRIDED[-1]], cut.expand), nn.Sequential(cut.rest, *trunk[STRIDED[-1] + 1 :])
        )
        channels = (LAST, 512, 256, 256, 128)
        self.extra = nn.ModuleList(_extra_block(a, b, norm) for a, b in zip(channels, channels[1:], strict=False))
        _normal_init(self.extra)
        self.out_channels = [cut.expand[0].out_channels, *channels]

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps = OrderedDict()
        for block in [*self.features, *self.extra]:
            x = block(x)
            maps[str(len(maps))] = x
        return maps


def ssdlite_lite0(classes: int, weights: str | None, **options: Any) -> nn.Module:
    """torchvision's SSDLite320 in everything but the trunk: anchors, head, extra maps, norms, suppression."""
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)  # also MobileNet's there
    trunk = lite0(norm)
    if weights is not None:
        load_published(trunk, weights)
    backbone = SSDLiteTrunk(trunk, norm)
    anchors = DefaultBoxGenerator([[2, 3] for _ in range(6)], min_ratio=0.2, max_ratio=0.95)
    head = SSDLiteHead(backbone.out_channels, anchors.num_anchors_per_location(), classes, norm)
    defaults = {"score_thresh": 0.001, "nms_thresh": 0.55, "detections_per_img": 300, "topk_candidates": 300}
    return SSD(backbone, anchors, (SIDE, SIDE), classes, head=head, **{**defaults, **PIXELS, **options})


def retinanet_lite0(classes: int, weights: str | None, **options: Any) -> nn.Module:
    """torchvision's RetinaNet with its FPN on Lite0's maps of strides 8, 16 and 32, the longer side 320 pixels.

    As with its ResNet-50: pretrained norms stay frozen, and so do the stages above stride 8.
    """
    trunk = lite0(partial(FrozenBatchNorm2d if weights is not None else nn.BatchNorm2d, eps=0.001))
    if weights is not None:
        load_published(trunk, weights)
        trunk[: STRIDED[1]].requires_grad_(False)
    ends = [STRIDED[2] - 1, STRIDED[3] - 1, len(trunk) - 1]
    channels = [trunk[end].rest[-1].weight.numel() for end in ends[:2]]  # type: ignore[union-attr, index]
    backbone = BackboneWithFPN(
        trunk,
        {str(end): str(level) for level, end in enumerate(ends)},
        [*channels, LAST],
        256,
        LastLevelP6P7(256, 256),
    )
    return RetinaNet(backbone, classes, min_size=SIDE, max_size=SIDE, **PIXELS, **options)


MODELS = {model.__name__: model for model in (ssdlite_mobilenetv3, ssdlite_lite0, ssd300_vgg, retinanet_lite0)}


def build(name: str, class_names: list[str], weights: str | None, **options: Any) -> nn.Module:
    """One of `MODELS`, background added. options: of torchvision's class, such as score_thresh."""
    return MODELS[name](len(class_names) + 1, weights, **options)


def to_tensor(pixels: Any) -> Tensor:
    """(H, W, 3) 8-bit RGB as torchvision takes it: (3, H, W) from 0 to 1."""
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(255)
