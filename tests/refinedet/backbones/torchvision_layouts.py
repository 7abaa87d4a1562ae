"""The key names and shapes of torchvision's ImageNet checkpoints, written out from the structure of its networks.

Every function returns {key: shape} of the whole classifier. Nothing here comes from the package.
"""

from __future__ import annotations

import torch


def conv(name, outputs, inputs, kernel=1, *, bias=False):
    layout = {f"{name}.weight": (outputs, inputs, kernel, kernel)}
    return {**layout, f"{name}.bias": (outputs,)} if bias else layout


def norm(name, width):
    fields = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{field}": (width,) for field in fields}, f"{name}.num_batches_tracked": ()}


def linear(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def conv_norm(first, second, outputs, inputs, kernel=1):
    return {**conv(first, outputs, inputs, kernel), **norm(second, outputs)}


def resnet(depths=(3, 4, 23, 3), width=64, groups=1, group_width=64):
    layout = conv_norm("conv1", "bn1", width, 3, 7)
    inputs = width
    for stage, depth in enumerate(depths):
        planes = width << stage
        middle, outputs = planes * group_width // 64 * groups, planes * 4
        for block in range(depth):
            name = f"layer{stage + 1}.{block}"
            layout |= conv_norm(f"{name}.conv1", f"{name}.bn1", middle, inputs)
            layout |= conv_norm(f"{name}.conv2", f"{name}.bn2", middle, middle // groups, 3)
            layout |= conv_norm(f"{name}.conv3", f"{name}.bn3", outputs, middle)
            if block == 0:
                layout |= conv_norm(f"{name}.downsample.0", f"{name}.downsample.1", outputs, inputs)
            inputs = outputs
    return layout | linear("fc", 1000, inputs)


# output channels of MobileNet V1's depthwise separable convolutions
MOBILENET_V1 = [64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]


def mobilenet_v1():
    """The names of marvis/pytorch-mobilenet, saved through DataParallel; torchvision has no MobileNet V1."""
    layout, inputs = conv_norm("model.0.0", "model.0.1", 32, 3, 3), 32
    for index, outputs in enumerate(MOBILENET_V1, start=1):
        layout |= conv_norm(f"model.{index}.0", f"model.{index}.1", inputs, 1, 3)
        layout |= conv_norm(f"model.{index}.3", f"model.{index}.4", outputs, inputs)
        inputs = outputs
    return {f"module.{key}": shape for key, shape in (layout | linear("fc", 1000, 1024)).items()}


def pytorchcv_mobilenet(scale=1.0):
    """pytorchcv's names."""
    inputs = int(32 * scale)
    layout = conv_norm("features.init_block.conv", "features.init_block.bn", inputs, 3, 3)
    units = iter(MOBILENET_V1)
    for stage, count in enumerate((1, 2, 2, 6, 2), start=1):
        for unit in range(1, count + 1):
            name, outputs = f"features.stage{stage}.unit{unit}", int(next(units) * scale)
            layout |= conv_norm(f"{name}.dw_conv.conv", f"{name}.dw_conv.bn", inputs, 1, 3)
            layout |= conv_norm(f"{name}.pw_conv.conv", f"{name}.pw_conv.bn", outputs, inputs)
            inputs = outputs
    return layout | linear("output", 1000, inputs)


def mobilenet_v2():
    layout = conv_norm("features.0.0", "features.0.1", 32, 3, 3)
    widths = [16, *[24] * 2, *[32] * 3, *[64] * 4, *[96] * 3, *[160] * 3, 320]
    inputs = 32
    for index, outputs in enumerate(widths, start=1):
        name = f"features.{index}.conv"
        wide, place = (inputs, 0) if index == 1 else (inputs * 6, 1)
        if index > 1:
            layout |= conv_norm(f"{name}.0.0", f"{name}.0.1", wide, inputs)
        layout |= conv_norm(f"{name}.{place}.0", f"{name}.{place}.1", wide, 1, 3)
        layout |= conv_norm(f"{name}.{place + 1}", f"{name}.{place + 2}", outputs, wide)
        inputs = outputs
    layout |= conv_norm("features.18.0", "features.18.1", 1280, 320)
    return layout | linear("classifier.1", 1000, 1280)


# input, kernel, expanded, output channels, channels inside the squeeze-and-excite or None
MOBILENET_V3_LARGE = [
    (16, 3, 16, 16, None),
    (16, 3, 64, 24, None),
    (24, 3, 72, 24, None),
    (24, 5, 72, 40, 24),
    (40, 5, 120, 40, 32),
    (40, 5, 120, 40, 32),
    (40, 3, 240, 80, None),
    (80, 3, 200, 80, None),
    (80, 3, 184, 80, None),
    (80, 3, 184, 80, None),
    (80, 3, 480, 112, 120),
    (112, 3, 672, 112, 168),
    (112, 5, 672, 160, 168),
    (160, 5, 960, 160, 240),
    (160, 5, 960, 160, 240),
]


def mobilenet_v3_large():
    layout = conv_norm("features.0.0", "features.0.1", 16, 3, 3)
    for index, (inputs, kernel, wide, outputs, squeezed) in enumerate(MOBILENET_V3_LARGE, start=1):
        name, place = f"features.{index}.block", 0
        if wide != inputs:
            layout |= conv_norm(f"{name}.0.0", f"{name}.0.1", wide, inputs)
            place += 1
        layout |= conv_norm(f"{name}.{place}.0", f"{name}.{place}.1", wide, 1, kernel)
        place += 1
        if squeezed is not None:
            layout |= conv(f"{name}.{place}.fc1", squeezed, wide, bias=True)
            layout |= conv(f"{name}.{place}.fc2", wide, squeezed, bias=True)
            place += 1
        layout |= conv_norm(f"{name}.{place}.0", f"{name}.{place}.1", outputs, wide)
    layout |= conv_norm("features.16.0", "features.16.1", 960, 160)
    return layout | linear("classifier.0", 1280, 960) | linear("classifier.3", 1000, 1280)


def shufflenet_v2(widths=(116, 232, 464), last=1024):
    layout = conv_norm("conv1.0", "conv1.1", 24, 3, 3)
    inputs = 24
    for stage, outputs, repeats in zip((2, 3, 4), widths, (4, 8, 4), strict=True):
        half = outputs // 2
        for unit in range(repeats):
            name = f"stage{stage}.{unit}"
            if unit == 0:
                layout |= conv_norm(f"{name}.branch1.0", f"{name}.branch1.1", inputs, 1, 3)
                layout |= conv_norm(f"{name}.branch1.2", f"{name}.branch1.3", half, inputs)
            layout |= conv_norm(f"{name}.branch2.0", f"{name}.branch2.1", half, inputs if unit == 0 else half)
            layout |= conv_norm(f"{name}.branch2.3", f"{name}.branch2.4", half, 1, 3)
            layout |= conv_norm(f"{name}.branch2.5", f"{name}.branch2.6", half, half)
        inputs = outputs
    layout |= conv_norm("conv5.0", "conv5.1", last, inputs)
    return layout | linear("fc", 1000, last)


def vgg16():
    layout, inputs = {}, 3
    widths = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 17: 512, 19: 512, 21: 512, 24: 512, 26: 512}
    for index, outputs in (widths | {28: 512}).items():
        layout |= conv(f"features.{index}", outputs, inputs, 3, bias=True)
        inputs = outputs
    layout |= linear("classifier.0", 4096, 25088) | linear("classifier.3", 4096, 4096)
    return layout | linear("classifier.6", 1000, 4096)


def vgg16_reducedfc():
    """The public file of ssd.pytorch: the convolutions by their index, fc6 and fc7 as 31 and 33."""
    layout = {key.removeprefix("features."): shape for key, shape in vgg16().items() if key.startswith("features.")}
    return layout | conv("31", 1024, 512, 3, bias=True) | conv("33", 1024, 1024, bias=True)


def efficientnet_lite0():
    """The names of the public PyTorch ports of EfficientNet, which torchvision has not."""
    layout = conv_norm("_conv_stem", "_bn0", 32, 3, 3)
    widths = [16, *[24] * 2, *[40] * 2, *[80] * 3, *[112] * 3, *[192] * 4, 320]
    kernels = [3, *[3] * 2, *[5] * 2, *[3] * 3, *[5] * 3, *[5] * 4, 3]
    inputs = 32
    for index, (outputs, kernel) in enumerate(zip(widths, kernels, strict=True)):
        name, wide = f"_blocks.{index}", inputs if index == 0 else inputs * 6
        if index > 0:
            layout |= conv_norm(f"{name}._expand_conv", f"{name}._bn0", wide, inputs)
        layout |= conv_norm(f"{name}._depthwise_conv", f"{name}._bn1", wide, 1, kernel)
        layout |= conv_norm(f"{name}._project_conv", f"{name}._bn2", outputs, wide)
        inputs = outputs
    layout |= conv_norm("_conv_head", "_bn1", 1280, 320)
    return layout | linear("_fc", 1000, 1280)


def parameters(layout):
    """The number of learned values of a layout."""
    counted = (shape for key, shape in layout.items() if "running" not in key and "num_batches" not in key)
    return sum(torch.Size(shape).numel() for shape in counted)


def tensors(layout, seed=0):
    """A state dict of random values; variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in layout.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        else:
            value = torch.rand(shape, generator=generator) + 0.5
            state[key] = value if "running_var" in key else value - 1
    return state
