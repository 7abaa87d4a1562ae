"""RefineDet 320 and 512 with VGG-16 as luuuyi/RefineDet.PyTorch saves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..backbones.vgg import STAGES
from ..backbones.vgg_weights import FC6, FC7
from .keys import Converted, KeyMap

SOURCE = "RefineDet.PyTorch"
LEVELS = 4
# The network reads RGB, its anchors are clipped, and it was trained with the ports' rules.
OPTIONS: dict[str, Any] = {"channel_order": "rgb", "clip_anchors": True, "matching": "argmax", "filtering": "peers"}


def convert(state: Mapping[str, Tensor], *, input_size: int | None = None) -> Converted:
    """The network has no layer that depends on its input size: `input_size` says which of the two it was trained for.
    None is 320.

    Modules there: `vgg` with the indices of the reduced VGG-16, `extras`, an L2Norm each for conv4_3 and conv5_3, the
    heads by level, and the transfer connection blocks in three lists: tcb0 (two convolutions before the sum at 3k and
    3k + 2), tcb1 (the deconvolutions), tcb2 (the convolution behind the sum at 3k + 1).
    """
    input_size = 320 if input_size is None else input_size
    if input_size not in (320, 512):
        raise ValueError(f"input_size: expected 320 or 512 for {SOURCE}, got {input_size}")
    keys = KeyMap(state, SOURCE)
    anchors = keys.shape("arm_loc.0.weight")[0] // 4
    num_classes = keys.shape("odm_conf.0.weight")[0] // anchors
    for index in trunk_indices():
        keys.rename_layer(f"backbone.trunk.{index}", f"vgg.{index}")
    keys.rename_layer("backbone.conv6_1", "extras.0")
    keys.rename_layer("backbone.conv6_2", "extras.1")
    keys.rename("norms.0.weight", "conv4_3_L2Norm.weight")
    keys.rename("norms.1.weight", "conv5_3_L2Norm.weight")
    for level in range(LEVELS):
        for stage in ("arm", "odm"):
            keys.rename_layer(f"{stage}.loc.{level}", f"{stage}_loc.{level}")
            keys.rename_layer(f"{stage}.cls.{level}", f"{stage}_conf.{level}")
        block = f"tcb.blocks.{level}"
        keys.rename_layer(f"{block}.lateral1", f"tcb0.{3 * level}")
        keys.rename_layer(f"{block}.lateral2", f"tcb0.{3 * level + 2}")
        keys.rename_layer(f"{block}.smooth", f"tcb2.{3 * level + 1}")
        if level < LEVELS - 1:
            keys.rename_layer(f"{block}.deconv", f"tcb1.{level}")
    return Converted(f"refinedet{input_size}_vgg16", num_classes, dict(OPTIONS), keys.finish())


def trunk_indices() -> list[int]:
    """Of the convolutions in the trunk, each followed by its ReLU, each stage by a pooling layer."""
    indices, at = [], 0
    for stage in STAGES:
        indices += [at + 2 * i for i in range(len(stage))]
        at += 2 * len(stage) + 1
    return [*indices, FC6, FC7]
