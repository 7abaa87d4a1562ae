"""Narrow networks of every family and backbone, and how near an optimized one has to be."""

from __future__ import annotations

import copy

import torch

import refinedet
from tests.refinedet.detectors.efgrnet_models import TINY_RESNET

RES = {"backbone_depths": (1, 1, 1, 2), "backbone_width": 8, "tcb_channels": 16, "head_block_width": 8}
# from stride 16 the coarsest map would be a single cell of these images: its norms would see four numbers, and amplify
# every difference of rounding
LIGHT = {"tcb_channels": 16, "finest_stride": 8}
# every family and every backbone, narrow; what the batch norms of each are
MODELS = {
    "refinedet320_vgg16": {"tcb_channels": 16},
    "refinedet320_small": {"tcb_channels": 16},
    "refinedet320_resnet101": RES,
    "refinedet512_resnext101": {**RES, "cardinality": 4, "group_width": 16},
    "refinedet320_mobilenet_v1": {"backbone_width": 0.25, **LIGHT},
    "refinedet320_mobilenet_v2": {"backbone_width": 0.25, **LIGHT},
    "refinedet320_mobilenet_v3": {"backbone_width": 0.25, **LIGHT},
    "refinedet320_shufflenet_v2": {"backbone_channels": (8, 16, 32, 64, 64), **LIGHT},
    "efgrnet320_small": {"fgrm_channels": 16},
    "efgrnet512_resnet101": TINY_RESNET,
    "padet320_small": {"decoder_channels": 16},
    "refinedetlite320_res2netlite72": {"width": 16, "head_channels": 32, "head_inner": 16},
}
FAMILIES = ("refinedet320_small", "efgrnet512_resnet101", "padet320_small", "refinedetlite320_res2netlite72")
# How much farther from float64 than the plain network in the same dtype: sums in another order, and folded weights
# (float32) or none of the roundings between a convolution and what is fused to it (bfloat16), move the error's size.
FARTHER = {"float32": 4.0, "bfloat16": 2.0}
WITH_WINOGRAD = 20.0  # its own error is about five times that of the usual sum


def build(name: str, **options):
    """With norms that do something, and heads whose outputs are of the order of 1."""
    torch.manual_seed(0)
    size = 64 if name == "refinedet320_vgg16" else 128
    model = refinedet.create_model(name, 4, **{"input_size": size, **MODELS[name], **options}).train()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
        model.head_outputs(images(model, 4))
    return model.eval()


def images(model, count=1, size=None):
    size = size or model.config.input_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 50


def distance(outputs, expected):
    """Of raw outputs from those in float64: the largest difference per kind, in units of the kind's largest."""
    return [
        float((got - want).abs().max() / want.abs().max()) for got, want in zip(outputs[:4], expected[:4], strict=True)
    ]


def assert_as_near(model, result, x, dtype="float32", farther=None):
    """The optimized network is about as far from float64 as the model itself in this dtype."""
    with torch.no_grad():
        exact = copy.deepcopy(model).double().head_outputs(x.double())
        cast = getattr(torch, dtype)
        plain = copy.deepcopy(model).to(cast).head_outputs(x.to(cast))
    outputs = result.head_outputs(x)
    assert all(float(t.std()) > 1e-3 for t in exact[:4])
    for got, want in zip(outputs[:4], exact[:4], strict=True):
        assert got.dtype == torch.float32 and got.shape == want.shape
    for name, ours, theirs in zip(exact._fields, distance(outputs, exact), distance(plain, exact), strict=False):
        assert ours <= (farther or FARTHER[dtype]) * theirs + 1e-6, (
            f"{name}: off by {ours:.2g}, the plain network by {theirs:.2g}"
        )
    assert torch.equal(outputs.anchors, exact.anchors)
