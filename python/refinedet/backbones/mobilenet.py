"""MobileNet V1 (Howard et al. 2017), V2 (Sandler et al. 2018) and V3-Large (Howard et al. 2019) as backbones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import check_choice
from ..init import init_kaiming
from .extra_stages import ConvStage, ExtendedBackbone, ExtraStage
from .layers import conv_bn, make_divisible, relu
from .mobilenet_weights import name_mobilenet_v1

# behind the map of stride 32: as VGG-16's conv6_1 and conv6_2 in RefineDet
EXTRAS = (ConvStage(256, 512),)
TAPS = ("expansion", "block")

# V1: output channels and stride of each depthwise separable convolution (table 1)
V1_BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
# V2: expansion, output channels, repeats, stride of the first (table 2)
V2_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# V3-Large: kernel, expanded channels, output channels, squeeze-and-excite, hard swish, stride (table 1)
V3_BLOCKS = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)


def relu6() -> nn.Module:
    return nn.ReLU6(inplace=True)


def hard_swish() -> nn.Module:
    return nn.Hardswish(inplace=True)


def check_width(width: float) -> None:
    if isinstance(width, bool) or not width > 0:
        raise ValueError(f"width: expected a positive number, got {width!r}")


class MobileNetV1(ExtendedBackbone):
    """Depthwise separable convolutions; maps: 256 channels at stride 8, 512 at 16, 1024 at 32, and the extra stages.

    width: multiplier of all channels. torchvision has no MobileNet V1; `features` holds the first convolution and
    the 13 blocks, each two `conv_bn` blocks: depthwise 3x3 ("0") and 1x1 ("1"). `load_weights` takes the checkpoints of
    marvis/pytorch-mobilenet and pytorchcv.
    """

    classifier_keys = ("classifier.weight", "classifier.bias")

    def __init__(
        self,
        width: float = 1.0,
        *,
        extras: Iterable[ExtraStage] = EXTRAS,
        finest_stride: int = 8,
    ) -> None:
        super().__init__()
        check_width(width)
        channels = make_divisible(32 * width)
        layers: list[nn.Module] = [conv_bn(3, channels, 3, 2)]
        outputs = [make_divisible(wide * width) for wide, _ in V1_BLOCKS]
        for out, (_, stride) in zip(outputs, V1_BLOCKS, strict=True):
            depthwise = conv_bn(channels, channels, 3, stride, groups=channels)
            layers.append(nn.Sequential(depthwise, conv_bn(channels, out)))
            channels = out
        self.features = nn.Sequential(*layers)
        init_kaiming(self)
        self.extend((outputs[4], outputs[10], outputs[12]), (8, 16, 32), extras, finest_stride=finest_stride)

    def own_names(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return name_mobilenet_v1(state)

    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        stride8 = self.features[:6](images)
        stride16 = self.features[6:12](stride8)
        return [stride8, stride16, self.features[12:](stride16)]


class InvertedResidual(nn.Module):
    """MobileNet V2's block: 1x1 expansion (unless 1), depthwise 3x3, linear 1x1; a shortcut where the shapes allow.

    forward returns the expanded map (the input without an expansion) and the block's output.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.expands, self.residual = expansion != 1, stride == 1 and in_channels == out_channels
        wide = in_channels * expansion
        layers: list[nn.Module] = [conv_bn(in_channels, wide, activation=relu6)] if self.expands else []
        layers.append(conv_bn(wide, wide, 3, stride, groups=wide, activation=relu6))
        self.conv = nn.Sequential(*layers, nn.Conv2d(wide, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = int(self.expands)
        wide = self.conv[:first](x)
        out = self.conv[first:](wide)
        return wide, x + out if self.residual else out


class SqueezeExcite(nn.Module):
    """Channels weighted by what the whole map says: mean, 1x1, ReLU, 1x1, hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = make_divisible(channels / 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1))))
        return x * F.hardsigmoid(scale)


class InvertedResidualV3(nn.Module):
    """MobileNet V3's block: expansion (unless as wide already), depthwise, squeeze-and-excite (some), linear 1x1.

    forward returns the expanded map (the input without an expansion) and the block's output.
    """

    def __init__(
        self,
        in_channels: int,
        wide: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        *,
        excite: bool,
        activation: Callable[[], nn.Module],
    ) -> None:
        super().__init__()
        norm = partial(conv_bn, eps=V3_EPS, momentum=V3_MOMENTUM)
        self.expands, self.residual = wide != in_channels, stride == 1 and in_channels == out_channels
        layers: list[nn.Module] = [norm(in_channels, wide, activation=activation)] if self.expands else []
        layers.append(norm(wide, wide, kernel_size, stride, groups=wide, activation=activation))
        if excite:
            layers.append(SqueezeExcite(wide))
        self.block = nn.Sequential(*layers, norm(wide, out_channels, activation=None))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = int(self.expands)
        wide = self.block[:first](x)
        out = self.block[first:](wide)
        return wide, x + out if self.residual else out


V3_EPS, V3_MOMENTUM = 1e-3, 0.01


class InvertedNet(ExtendedBackbone):
    """What V2, V3 and EfficientNet-Lite share: `features` is a first convolution, the blocks and a last 1x1 one.

    The maps of strides 8 and 16 are taken where the next block halves the resolution. taps: "expansion" is that
    block's expanded map, after its norm and activation (as SSDLite takes it); "block" the narrow linear output of the
    block before it.
    """

    features: nn.Sequential
    halving: tuple[int, int]
    """Index in `features` of the blocks that take strides 8 and 16 to 16 and 32."""

    def __init__(self, taps: str) -> None:
        super().__init__()
        check_choice(taps, "taps", TAPS)
        self.taps = taps

    def trunk_maps(self, images: Tensor) -> list[Tensor]:
        maps = []
        x = self.features[0](images)
        last = len(self.features) - 1
        for index in range(1, last):
            wide, out = self.features[index](x)
            if index in self.halving:
                maps.append(wide if self.taps == "expansion" else x)
            x = out
        return [*maps, self.features[last](x)]


class MobileNetV2(InvertedNet):
    """Inverted residuals with ReLU6; maps with taps="expansion": 192 channels at stride 8, 576 at 16, 1280 at 32.

    With taps="block": 32, 96 and 1280. width: multiplier of the channels; the last 1280 grow with it, but do not
    shrink. taps, extras: see above. Key names as torchvision's mobilenet_v2.
    """

    classifier_keys = ("classifier.1.weight", "classifier.1.bias")
    halving = (7, 14)

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
        channels = make_divisible(32 * width)
        layers: list[nn.Module] = [conv_bn(3, channels, 3, 2, activation=relu6)]
        taken: dict[str, list[int]] = {name: [] for name in TAPS}
        for expansion, base, repeats, first_stride in V2_BLOCKS:
            out = make_divisible(base * width)
            for repeat in range(repeats):
                if len(layers) in self.halving:
                    taken["block"].append(channels)
                    taken["expansion"].append(channels * expansion)
                layers.append(InvertedResidual(channels, out, first_stride if repeat == 0 else 1, expansion))
                channels = out
        last = make_divisible(1280 * max(1.0, width))
        self.features = nn.Sequential(*layers, conv_bn(channels, last, activation=relu6))
        init_kaiming(self)
        self.extend((*taken[taps], last), (8, 16, 32), extras, finest_stride=finest_stride)


class MobileNetV3(InvertedNet):
    """V3-Large; maps with taps="expansion": 240 channels at stride 8, 672 at 16, 960 at 32.

    With taps="block": 40, 112 and 960. width: multiplier of all channels. taps, extras: see above. Key names as
    torchvision's mobilenet_v3_large.
    """

    classifier_keys = ("classifier.0.weight", "classifier.0.bias", "classifier.3.weight", "classifier.3.bias")
    halving = (7, 13)

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
        norm = partial(conv_bn, eps=V3_EPS, momentum=V3_MOMENTUM)
        channels = make_divisible(16 * width)
        layers: list[nn.Module] = [norm(3, channels, 3, 2, activation=hard_swish)]
        taken: dict[str, list[int]] = {name: [] for name in TAPS}
        for kernel, base_wide, base, excite, swish, stride in V3_BLOCKS:
            wide, out = make_divisible(base_wide * width), make_divisible(base * width)
            if len(layers) in self.halving:
                taken["block"].append(channels)
                taken["expansion"].append(wide)
            activation = hard_swish if swish else relu
            layers.append(InvertedResidualV3(channels, wide, out, kernel, stride, excite=excite, activation=activation))
            channels = out
        last = 6 * channels
        self.features = nn.Sequential(*layers, norm(channels, last, activation=hard_swish))
        init_kaiming(self)
        self.extend((*taken[taps], last), (8, 16, 32), extras, finest_stride=finest_stride)
