"""Public VGG-16 checkpoints in the layout of `VGG16.trunk`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

FC6, FC7 = 31, 33  # index of the two convolutions in the trunk
# what torchvision's VGG-16 subtracts and divides by, (R, G, B) in 0..255, and what our images have subtracted
TORCHVISION_MEAN = tuple(255 * v for v in (0.485, 0.456, 0.406))
TORCHVISION_STD = tuple(255 * v for v in (0.229, 0.224, 0.225))
CAFFE_MEAN_RGB = (123.0, 117.0, 104.0)


def convert_vgg16(state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Keys and tensors for `VGG16.trunk` from a public checkpoint, told by its key names.

    "0.weight", ...: the reduced file of SSD, taken as it is. "features.0.weight", ...: torchvision's, see
    `convert_torchvision_vgg16`. ValueError if it is neither.
    """
    if "0.weight" in state:
        return dict(state)
    if "features.0.weight" in state:
        return convert_torchvision_vgg16(state, source=source)
    found = ", ".join(list(state)[:4])
    raise ValueError(
        f"weights: {source} is no VGG-16 checkpoint: expected keys such as '0.weight' (vgg16_reducedfc) or "
        f"'features.0.weight' (torchvision), got {found}"
    )


def convert_torchvision_vgg16(state: Mapping[str, Tensor], *, source: str) -> dict[str, Tensor]:
    """Turn torchvision's VGG-16 into the reduced form.

    fc6 (4096, 512*7*7) keeps every 4th output and every 3rd tap: (1024, 512, 3, 3); fc7 (4096, 4096) every 4th
    output and input: (1024, 1024, 1, 1), as SSD's reduction does. The classifier's last layer is dropped.

    torchvision's network wants RGB over 255, standardized; ours gets BGR in 0..255 minus (104, 117, 123). The first
    layer takes up the difference, exactly but for the border pixels, where the padding stands for another grey.
    """
    converted = {
        key.removeprefix("features."): value for key, value in state.items() if not key.startswith("classifier.")
    }
    for layer, index, shape in ((0, FC6, (4096, 25088)), (3, FC7, (4096, 4096))):
        for kind in ("weight", "bias"):
            key = f"classifier.{layer}.{kind}"
            want = shape if kind == "weight" else shape[:1]
            if key not in state:
                raise ValueError(f"weights: {source} has no key {key!r}, expected in a VGG-16")
            if tuple(state[key].shape) != want:
                raise ValueError(f"weights: {key} of {source}: expected shape {want}, got {tuple(state[key].shape)}")
            converted[f"{index}.{kind}"] = state[key]
    fc6 = converted[f"{FC6}.weight"].reshape(4096, 512, 7, 7)
    converted[f"{FC6}.weight"] = fc6[::4, :, ::3, ::3].contiguous()
    fc7 = converted[f"{FC7}.weight"][::4, ::4]
    converted[f"{FC7}.weight"] = fc7[:, :, None, None].contiguous()
    for index in (FC6, FC7):
        converted[f"{index}.bias"] = converted[f"{index}.bias"][::4].contiguous()
    _adapt_input(converted)
    return converted


def _adapt_input(state: dict[str, Tensor]) -> None:
    """Let the first convolution take BGR in 0..255 minus Caffe's mean in place of standardized RGB."""
    weight, bias = state["0.weight"], state.get("0.bias")
    if weight.dim() != 4 or weight.shape[1] != 3 or bias is None:
        return  # not a VGG-16; the comparison of keys and shapes says how
    std = torch.tensor(TORCHVISION_STD, dtype=weight.dtype).view(1, 3, 1, 1)
    shift = torch.tensor(CAFFE_MEAN_RGB, dtype=weight.dtype) - torch.tensor(TORCHVISION_MEAN, dtype=weight.dtype)
    weight = weight / std
    state["0.bias"] = bias + (weight * shift.view(1, 3, 1, 1)).sum(dim=(1, 2, 3))
    state["0.weight"] = weight.flip(1).contiguous()
