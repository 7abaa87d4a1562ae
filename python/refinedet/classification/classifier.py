"""A backbone as a classifier."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from ..backbones.base import Backbone
from ..checks import check_integer
from ..structures import Normalization


class Classifier(nn.Module):
    """The trunk of a backbone, the mean of its last map, and a linear layer: stage 4 of RefineDetLite's table 1.

    What a detector adds behind the trunk (extra stages) has no part in it and is not trained. Of VGG-16, whose fc6 and
    fc7 are convolutions here, the linear layer is the last one alone.

    backbone: of a detector. num_classes: without background. normalization: how the backbone reads pixels.

    forward(images): (B, 3, H, W), uint8 in BGR order or float as `normalization` gives them; logits (B, num_classes).
    """

    def __init__(self, backbone: Backbone, num_classes: int, normalization: Normalization) -> None:
        super().__init__()
        check_integer(num_classes, "num_classes", 2)
        self.backbone = backbone
        self.normalization = normalization
        self.fc = nn.Linear(backbone.trunk_channels, num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)
        for name, parameter in backbone.named_parameters():
            parameter.requires_grad_(not name.startswith(backbone.own_stages))

    def forward(self, images: Tensor) -> Tensor:
        if not images.is_floating_point():
            images = self.normalization.apply(images)
        return cast(Tensor, self.fc(self.backbone.trunk_features(images).mean((2, 3))))
