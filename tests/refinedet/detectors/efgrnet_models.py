"""EFGRNets that are quick everywhere."""

from __future__ import annotations

import torch

import refinedet
from refinedet import EFGRNet, EFGRNetConfig
from refinedet.backbones import SmallNet
from refinedet.detectors.efgrnet import EFGRNetForm

WIDTHS = (16, 32, 16, 16)
FORM = EFGRNetForm(WIDTHS, WIDTHS, (True, True, False, False), (0, 0, 0, 0))
# the two networks of the paper in small: the first by hand, the other from the registry
TINY_RESNET = {"backbone_depths": (1, 1, 1, 1), "backbone_width": 4, "input_size": 128, "fgrm_channels": 16}


def tiny(**options) -> EFGRNet:
    torch.manual_seed(0)
    backbone = SmallNet(stem=(8, 8), channels=WIDTHS, depths=(0, 0, 0, 0))
    options = {"input_size": 128, "anchor_sizes": (16, 32, 64, 128), "fgrm_channels": 16, **options}
    return EFGRNet(backbone, EFGRNetConfig.from_options(**options), num_classes=4, form=FORM)


def tiny_resnet(**options) -> EFGRNet:
    torch.manual_seed(0)
    model = refinedet.create_model("efgrnet512_resnet101", 4, **{**TINY_RESNET, **options})
    assert isinstance(model, EFGRNet)
    return model


def on_meta(name: str, classes: int, **options) -> EFGRNet:
    with torch.device("meta"):
        model = refinedet.create_model(name, classes, **options)
    assert isinstance(model, EFGRNet)
    return model
