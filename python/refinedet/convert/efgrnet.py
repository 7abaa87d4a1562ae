"""EFGRNet with VGG-16 and ResNet-101 as Ranchentx/EFGRNet, the code of its authors, saves them.

The tables pair layers there with layers here; `*` stands for the level.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..backbones.resnet import RESNET101
from .keys import Converted, KeyMap
from .refinedet_pytorch import trunk_indices

SOURCE = "EFGRNet"
LEVELS = 4
WEIGHT, BIASED = ("weight",), ("weight", "bias")
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
# What the weights expect, and the rules that they were trained by. They are the registry's defaults but for the last.
OPTIONS: dict[str, Any] = {
    "anchor_sizes": (30, 64, 128, 256),
    "clip_anchors": True,
    "channel_order": "bgr",
    "offset_source": "position",
    "offset_act": True,
    "objectness": True,
    "nms": "efgrnet",
    "peer_compat": True,
}

# convolution and batch norm, "conv" and "bn" there, "0" and "1" here
BLOCKS = {
    "extractor.extras.0": "backbone.extras.0.0",
    "extractor.extras.1": "backbone.extras.0.1",
    "extractor.dsc1.single_branch.0": "enrichment.objectness.down.0",
    "extractor.dsc2.single_branch.0": "enrichment.objectness.down.1",
    "extractor.dsc3.single_branch.0": "enrichment.objectness.down.2",
    "extractor.Norm3": "enrichment.objectness.fuse.2",
    "extractor.Norm4": "enrichment.objectness.fuse.3",
    "loc_offset_conv.*": "fgrm.*.offset",
}
VGG_BLOCKS = {
    "extractor.extras.2": "backbone.extras.1.0",
    "extractor.extras.3": "backbone.extras.1.1",
    "extractor.Norm1.single_branch.0": "enrichment.objectness.fuse.0",
    "extractor.Norm2.single_branch.0": "enrichment.objectness.fuse.1",
}
RESNET_BLOCKS = {
    "extractor.Norm1": "enrichment.objectness.fuse.0",
    "extractor.Norm2": "enrichment.objectness.fuse.1",
    "extractor.trans.0.0.single_branch.0": "enrichment.widen.0.0.body.0",
    "extractor.trans.0.0.single_branch.1": "enrichment.widen.0.0.body.1",
    "extractor.trans.0.0.single_branch.2": "enrichment.widen.0.0.body.2",
    "extractor.trans.0.1.single_branch.0": "enrichment.widen.0.1.body.0",
    "extractor.trans.0.1.single_branch.1": "enrichment.widen.0.1.body.1",
    "extractor.trans.0.1.single_branch.2": "enrichment.widen.0.1.body.2",
    "extractor.trans.0.2": "enrichment.widen.0.2",
    "extractor.trans.1": "enrichment.widen.1.0",
    "extractor.trans.2": "enrichment.widen.2.0",
    "odm_conf.*.0.branch1": "odm.blocks.*.0",
    "odm_conf.*.0.branch2": "odm.blocks.*.1",
    "odm_loc.*.0.branch1": "odm.loc_blocks.*.0",
    "odm_loc.*.0.branch2": "odm.loc_blocks.*.1",
}
# within MSCF, which is `icn1` beside VGG-16 and `MSCF` beside ResNet
MSCF_BLOCKS = {
    "single_branch.0": "stem.0",
    "single_branch.1": "stem.1",
    "single_branch.2.branch_1.0": "branches.0.0",
    "single_branch.2.branch_1.1": "branches.0.1",
    "single_branch.2.branch_2.0": "branches.1.0",
    "single_branch.2.branch_2.1": "branches.1.1",
    "single_branch.2.branch_3.0": "branches.2.0",
    "single_branch.2.branch_3.1": "branches.2.1",
    "single_branch.2.branch_4": "fuse",
}
# other layers, and what they have
LAYERS = {
    "arm_conf.*": ("arm.cls.*", BIASED),
    "arm_loc.*": ("arm.loc.*", BIASED),
    "dcn_convs.*": ("fgrm.*.align", WEIGHT),
    "bn_layers.*": ("fgrm.*.norm", NORM),
}
VGG_LAYERS = {
    "extractor.ibn1.bn": ("norms.0", NORM),
    "extractor.ibn2.bn": ("norms.1", NORM),
    "odm_conf.*": ("odm.cls.*", BIASED),
    "odm_loc.*": ("odm.loc.*", BIASED),
}
RESNET_LAYERS = {
    "extractor.smooth1": ("norms.2", BIASED),
    "odm_conf.*.1": ("odm.cls.*", BIASED),
    "odm_loc.*.1": ("odm.loc.*", BIASED),
}


def convert(state: Mapping[str, Tensor], *, input_size: int | None = None) -> Converted:
    """The checkpoint of either network; which one, its keys tell.

    input_size: of what it was trained for, 320 or 512; VGG-16's weights do not tell, and are taken for 320 if it is
    None. ResNet-101 was released for 512.
    """
    keys = KeyMap(_counted(state), SOURCE)
    vgg = "extractor.vgg.0.weight" in keys.state
    sizes = (320, 512) if vgg else (512,)
    size = sizes[0] if input_size is None else input_size
    if size not in sizes:
        raise ValueError(f"input_size: expected one of {list(sizes)} for this {SOURCE}, got {size}")
    anchors = keys.shape("arm_loc.0.weight")[0] // 4
    num_classes = keys.shape("odm_conf.0.weight" if vgg else "odm_conf.0.1.weight")[0] // anchors
    for theirs, (ours, kinds) in network_layers(vgg).items():
        keys.rename_layer(ours, theirs, kinds)
    name = f"efgrnet{size}_vgg16" if vgg else f"efgrnet{size}_resnet101"
    options = dict(OPTIONS) if vgg else {**OPTIONS, "backbone_style": "torchvision"}
    return Converted(name, num_classes, options, keys.finish())


def network_layers(vgg: bool) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Every layer of the one network or the other by its name there: its name here, and the tensors it has."""
    mscf = "extractor.icn1" if vgg else "extractor.MSCF"
    blocks = {
        **BLOCKS,
        **(VGG_BLOCKS if vgg else RESNET_BLOCKS),
        **{f"{mscf}.{theirs}": f"enrichment.mscf.{ours}" for theirs, ours in MSCF_BLOCKS.items()},
    }
    layers = {**(_vgg_trunk() if vgg else _resnet_trunk()), **LAYERS, **(VGG_LAYERS if vgg else RESNET_LAYERS)}
    for theirs, ours in blocks.items():
        layers[f"{theirs}.conv"] = (f"{ours}.0", WEIGHT)
        layers[f"{theirs}.bn"] = (f"{ours}.1", NORM)
    return {
        theirs.replace("*", str(level)): (ours.replace("*", str(level)), kinds)
        for theirs, (ours, kinds) in layers.items()
        for level in (range(LEVELS) if "*" in theirs else (0,))
    }


def _vgg_trunk() -> dict[str, tuple[str, tuple[str, ...]]]:
    return {f"extractor.vgg.{index}": (f"backbone.trunk.{index}", BIASED) for index in trunk_indices()}


def _resnet_trunk() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Both sides have torchvision's names."""
    layers = {"conv1": WEIGHT, "bn1": NORM}
    for stage, depth in enumerate(RESNET101, start=1):
        layers[f"layer{stage}.0.downsample.0"] = WEIGHT
        layers[f"layer{stage}.0.downsample.1"] = NORM
        for block in range(depth):
            for index in (1, 2, 3):
                layers[f"layer{stage}.{block}.conv{index}"] = WEIGHT
                layers[f"layer{stage}.{block}.bn{index}"] = NORM
    return {f"extractor.{name}": (f"backbone.{name}", kinds) for name, kinds in layers.items()}


def _counted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With the counters of the batch norms, which files from before torch 0.4.1 do not have; they start at zero."""
    counters = {
        key.removesuffix("running_mean") + "num_batches_tracked": torch.tensor(0)
        for key in state
        if key.endswith(".running_mean")
    }
    return {**counters, **state}
