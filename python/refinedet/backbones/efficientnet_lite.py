"""EfficientNet-Lite0 (Tan and Le 2019, in the form that Google made for phones in 2020) as a backbone.

EfficientNet-B0 without squeeze-and-excitation, with ReLU6, and with a first and a last layer of fixed width.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from refinedet_ext.nn import DepthwiseConv2d

from ..init import init_kaiming
from .checkpoint import load_strict, read_state_dict
from .extra_stages import EXTRAS as EXTRA_KEYS
from .extra_stages import ConvStage, ExtraStage
from .layers import make_divisible
from .mobilenet import TAPS, InvertedNet, check_width, relu6

# behind the map of stride 32; half as wide as MobileNet's, as suits maps that are read at small sizes
EXTRAS = (ConvStage(128, 256),)
# kernel, expansion, output channels, repeats, stride of the first
BLOCKS = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
# TensorFlow's 0.99 is the share of the old average, torch's 0.01 that of the new value
EPS, MOMENTUM = 1e-3, 0.01

EFFICIENTNET_PIXELS: dict[str, Any] = {
    "pixel_mean": (127.0, 127.0, 127.0),
    "pixel_std": (128.0, 128.0, 128.0),
    "channel_order": "rgb",
}
"""The options of a detector whose backbone reads images as EfficientNet-Lite does: RGB, from -1 to 1."""


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding: ceil(size / stride) cells, what is odd of it right and below.

    With stride 2 and an even size the taps lie half a pixel further right and down than torch's symmetric padding has
    them: weights that were trained so read shifted images otherwise.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, _padding(kernel_size, stride), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if self.stride[0] == 1 else F.pad(x, _same_cells(self, x)))


class SameDepthwiseConv2d(DepthwiseConv2d):
    """The same of every channel by itself."""

    def __init__(self, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__(channels, kernel_size, stride, _padding(kernel_size, stride), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.stride[0] == 1 else self.padded_forward(x, _same_cells(self, x))


def _padding(kernel_size: int, stride: int) -> int:
    """Stride 1 needs no more than torch's own padding."""
    return (kernel_size - 1) // 2 if stride == 1 else 0


def _same_cells(convolution: nn.Conv2d, x: Tensor) -> tuple[int, int, int, int]:
    """Cells of padding on the left, on the right, above and below."""
    kernel_size, stride = convolution.kernel_size[0], convolution.stride[0]
    return *_same(x.shape[3], kernel_size, stride), *_same(x.shape[2], kernel_size, stride)


def _same(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """Cells of padding before and behind `size` cells."""
    cells = (size + stride - 1) // stride
    total = max((cells - 1) * stride + kernel_size - size, 0)
    return total // 2, total - total // 2


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPS, momentum=MOMENTUM)


def _conv_norm(in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> Any:
    convolution = SameConv2d(in_channels, out_channels, kernel_size, stride)
    return nn.Sequential(convolution, _norm(out_channels), relu6())


def _depthwise_norm(channels: int, kernel_size: int, stride: int) -> Any:
    return nn.Sequential(SameDepthwiseConv2d(channels, kernel_size, stride), _norm(channels), relu6())


class LiteBlock(nn.Module):
    """1x1 expansion (unless 1), depthwise convolution, linear 1x1; a shortcut where the shapes allow.

    forward returns the expanded map (the input without an expansion) and the block's output.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.expands, self.residual = expansion != 1, stride == 1 and in_channels == out_channels
        wide = in_channels * expansion
        layers: list[nn.Module] = [_conv_norm(in_channels, wide)] if self.expands else []
        layers.append(_depthwise_norm(wide, kernel_size, stride))
        self.conv = nn.Sequential(*layers, nn.Conv2d(wide, out_channels, 1, bias=False), _norm(out_channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = int(self.expands)
        wide = self.conv[:first](x)
        out = self.conv[first:](wide)
        return wide, x + out if self.residual else out


class EfficientNetLite0(InvertedNet):
    """Maps with taps="expansion": 240 channels at stride 8, 672 at 16, 1280 at 32; with "block" 40, 112 and 1280.

    width: multiplier of the blocks' channels; the first 32 and the last 1280 stay, as in the larger Lite networks,
    unless it is below 1. taps, extras: see `MobileNetV2`. `load_weights` reads the public PyTorch checkpoints of
    EfficientNet-Lite0.
    """

    halving = (6, 12)

    def __init__(
        self,
        width: float = 1.0,
        *,
        taps: str = "expansion",
        extras: Iterable[ExtraStage] = EXTRAS,
        finest_stride: int = 8,
    ) -> None:
        super().__init__(taps)
        check_width(width)
        channels = make_divisible(32 * min(1.0, width))
        layers: list[nn.Module] = [_conv_norm(3, channels, 3, 2)]
        taken: dict[str, list[int]] = {name: [] for name in TAPS}
        for kernel, expansion, base, repeats, first_stride in BLOCKS:
            out = make_divisible(base * width)
            for repeat in range(repeats):
                if len(layers) in self.halving:
                    taken["block"].append(channels)
                    taken["expansion"].append(channels * expansion)
                layers.append(LiteBlock(channels, out, kernel, first_stride if repeat == 0 else 1, expansion))
                channels = out
        last = make_divisible(1280 * min(1.0, width))
        self.features = nn.Sequential(*layers, _conv_norm(channels, last))
        init_kaiming(self)
        self.extend((*taken[taps], last), (8, 16, 32), extras, finest_stride=finest_stride)

    def load_weights(self, path: str | os.PathLike[str]) -> None:
        """Load the trunk from a public checkpoint (keys "_conv_stem.weight", ...), or a state dict of this class.

        Of a checkpoint, the classification layer is left out and the extra stages keep their values.

        FileNotFoundError without the file; ValueError that names the keys that are missing, left over or of another
        shape; nothing is loaded then.
        """
        state = read_state_dict(path)
        own = self.state_dict()
        if FIRST_KEY in state or not any(key.startswith(EXTRA_KEYS) for key in state):
            kept = {key: value for key, value in own.items() if key.startswith(EXTRA_KEYS)}
            state = {**convert_efficientnet_lite(state), **kept}
        load_strict(self, state, source=str(path))


FIRST_KEY = "_conv_stem.weight"
OUTER = {"_conv_stem": "0.0", "_bn0": "0.1", "_conv_head": "{last}.0", "_bn1": "{last}.1"}
CLASSIFIER = ("_fc.weight", "_fc.bias")


def convert_efficientnet_lite(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint with the names of the public PyTorch ports of EfficientNet, under those of `EfficientNetLite0`.

    Without the classification layer. Names that are no such port's stay as they are, for the error about them.
    """
    last = 1 + sum(repeats for _, _, _, repeats, _ in BLOCKS)
    converted = {}
    for key, value in state.items():
        module, _, field = key.rpartition(".")
        if key in CLASSIFIER:
            continue
        if module in OUTER:
            key = f"features.{OUTER[module].format(last=last)}.{field}"
        elif module.startswith("_blocks.") and module.count(".") == 2:
            _, index, layer = module.split(".")
            expands = f"_blocks.{index}._expand_conv.weight" in state
            place = _places(expands).get(layer)
            if place is not None and index.isdecimal():
                key = f"features.{int(index) + 1}.conv.{place}.{field}"
        converted[key] = value
    return converted


def _places(expands: bool) -> dict[str, str]:
    """Where the layers of a block stand in `LiteBlock.conv`."""
    first = int(expands)
    places = {
        "_depthwise_conv": f"{first}.0",
        "_bn1": f"{first}.1",
        "_project_conv": str(first + 1),
        "_bn2": str(first + 2),
    }
    return {**places, "_expand_conv": "0.0", "_bn0": "0.1"} if expands else places
