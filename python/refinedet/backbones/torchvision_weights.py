"""ImageNet checkpoints with torchvision's key names, fitted to a backbone whose trunk has the same names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from .vgg_weights import TORCHVISION_MEAN, TORCHVISION_STD

TORCHVISION_PIXELS: dict[str, Any] = {
    "pixel_mean": TORCHVISION_MEAN[::-1],
    "pixel_std": TORCHVISION_STD[::-1],
    "channel_order": "rgb",
}
"""The options of a detector whose backbone reads images as torchvision's networks do: RGB, standardized.

`Normalization` names its means in BGR order whatever the network reads.
"""


def convert_torchvision(
    state: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    *,
    classifier: Collection[str],
    kept: str,
) -> dict[str, Tensor]:
    """The state dict of a whole backbone from an ImageNet checkpoint of its trunk.

    state: the checkpoint. own: the backbone's state dict as it is. classifier: the keys that belong to the
    classification layer alone; they are dropped, everything else must fit. kept: prefix of the keys that no
    checkpoint has, the extra stages; their values stay.

    Files from before torch 0.4.1 have no `num_batches_tracked`; it counts from zero then.
    """
    converted = {key: value for key, value in state.items() if key not in classifier}
    for key, value in own.items():
        norm, _, field = key.rpartition(".")
        counted_later = field == "num_batches_tracked" and f"{norm}.running_mean" in state
        if key.startswith(kept):
            converted[key] = value
        elif counted_later and key not in state:
            converted[key] = torch.zeros_like(value, device="cpu")
    return converted
