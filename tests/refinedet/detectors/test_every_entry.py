"""What every model of the registry can do: train, detect, be saved, run in bfloat16, compile.

Small where its options allow it, on small images; the detectors' own tests look closer.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import refinedet
import refinedet_ext as rx
from refinedet import HeadOutputs
from refinedet.backbones import Res2NetLite
from refinedet.detectors.padet_entries import anchors_of
from refinedet.registry import model_entry

from .test_refinedet import make_batch
from .test_refinedet_backbones import TINY as TRACED_ELSEWHERE  # in test_refinedet_backbones_compile

CLASSES = 4
RESNET = {"backbone_depths": (1, 1, 1, 1), "backbone_width": 8}
MOBILE = {"backbone_width": 0.25, "tcb_channels": 16}
# options that make an entry quick; VGG-16 has none
REDUCED = {
    "efgrnet512_resnet101": {**RESNET, "fgrm_channels": 16},
    "padet384_resnet101": {**RESNET, "decoder_channels": 16},
    "padet512_resnet101": {**RESNET, "decoder_channels": 16},
    "padet384_vgg16": {"decoder_channels": 16},
    "padet512_vgg16": {"decoder_channels": 16},
    "refinedet256_efficientnet_lite0": MOBILE,
    "refinedet320_efficientnet_lite0": MOBILE,
    "refinedet512_efficientnet_lite0": MOBILE,
    "refinedet320_mobilenet_v1": MOBILE,
    "refinedet320_mobilenet_v2": MOBILE,
    "refinedet320_mobilenet_v3": MOBILE,
    "refinedet320_resnet101": {**RESNET, "head_block_width": 8, "tcb_channels": 16},
    "refinedet512_resnet101": {**RESNET, "head_block_width": 8, "tcb_channels": 16},
    "refinedet512_resnext101": {**RESNET, "cardinality": 4, "group_width": 16, "head_block_width": 8},
    "refinedet320_shufflenet_v2": {"backbone_channels": (8, 8, 16, 24, 32), "tcb_channels": 16},
    "refinedetlite320_res2netlite72": {"width": 8, "mid_div": 2, "head_channels": 16, "head_inner": 8},
}
# entries that another one stands for where the graph is traced: the same builder, for another image size or depth
SAME_BUILDER = {
    "efgrnet320_small": "efgrnet192_small",
    "efgrnet512_vgg16": "efgrnet320_vgg16",
    "padet320_small": "padet192_small",
    "padet512_resnet101": "padet384_resnet101",
    "padet512_vgg16": "padet384_vgg16",
    "refinedet256_efficientnet_lite0": "refinedet320_efficientnet_lite0",
    "refinedet256_small": "refinedet192_small",
    "refinedet320_small": "refinedet192_small",
    "refinedet512_efficientnet_lite0": "refinedet320_efficientnet_lite0",
    "refinedet512_vgg16": "refinedet320_vgg16",
}
# of padet512_vgg16, which then takes smaller images
WITHOUT_COARSEST = {"encoder_maps": 5, **anchors_of(512, (4, 10, 26, 42, 58, 74, 90))}
TRACED = [name for name in refinedet.list_models() if name not in SAME_BUILDER and name not in TRACED_ELSEWHERE]


def side(name):
    """Of the images: the coarsest map has a cell at least."""
    if name.startswith("padet"):
        return 256 if "512" in name else 128
    return 64 if name.endswith("_vgg16") else 128


class Whole(nn.Module):
    """A detector's outputs and detections as plain tensors."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        outputs = self.model.head_outputs(images)
        return (*outputs, *self.model.detect(outputs))


@pytest.fixture(scope="module", autouse=True)
def shallow():
    with pytest.MonkeyPatch.context() as patch:  # the depths of Res2NetLite are no option
        patch.setattr("refinedet.detectors.refinedetlite_entries.Res2NetLite", partial(Res2NetLite, depths=(1, 1, 1)))
        yield


def create(name, **options):
    torch.manual_seed(0)
    return refinedet.create_model(name, CLASSES, **REDUCED.get(name, {}), **options)


@pytest.fixture(scope="module", params=refinedet.list_models())
def model(request, shallow):
    return create(request.param)


def random_images(name):
    return torch.randn(1, 3, side(name), side(name), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def images(model):
    return random_images(model.spec.name)


def test_names_are_registered_and_some_share_a_builder():
    assert set(REDUCED) | set(TRACED_ELSEWHERE) <= set(refinedet.list_models())
    for name, other in SAME_BUILDER.items():
        assert model_entry(name).build is model_entry(other).build and other in TRACED


def test_forward_backward_and_one_step(model):
    batch = make_batch([2, 1], side(model.spec.name))
    outputs = model.train()(batch.images)
    assert isinstance(outputs, HeadOutputs)
    anchors = outputs.anchors.shape[0]
    assert outputs.odm_logits.shape == (2, anchors, CLASSES) and outputs.odm_deltas.shape == (2, anchors, 4)
    assert outputs.arm_logits.shape == (2, anchors, 2) and outputs.arm_deltas.shape == (2, anchors, 4)
    losses = model.loss(outputs, batch)
    assert losses["total"].isfinite() and losses["total"] > 0
    losses["total"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    before = [parameter.detach().clone() for parameter in model.parameters()]
    torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9, weight_decay=5e-4).step()
    changed = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert np.mean(changed) > 0.5 and all(p.isfinite().all() for p in model.parameters())
    model.zero_grad(set_to_none=True)


def test_detects(model, images):
    found = model.eval()(images)
    assert isinstance(found, rx.Detections) and found.boxes.isfinite().all()
    rows = torch.arange(found.scores.shape[1]) < found.count[:, None]
    assert ((found.labels >= 1) & (found.labels < CLASSES))[rows].all()
    assert (found.scores[rows] > model.nms.score_threshold * 0.99).all()


def test_predicts_a_picture_of_another_size(model):
    size = side(model.spec.name)
    picture = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    (found,) = refinedet.Predictor(model.eval(), list("abc"), input_size=size)([picture], score_threshold=0.0)
    assert found.size == (70, 90) and len(found) == len(found.names) and set(found.names) <= set("abc")
    assert (found.boxes >= 0).all() and (found.boxes[:, 2:] <= (70, 90)).all()


def test_saves_and_loads(model, images, tmp_path):
    model.eval()
    refinedet.save_model(model, tmp_path / "m.safetensors", class_names=list("abc"))
    again = refinedet.load_model(tmp_path / "m.safetensors")
    assert again.class_names == list("abc") and again.model.spec == model.spec
    with torch.no_grad():
        for a, b in zip(again.model.head_outputs(images), model.head_outputs(images), strict=True):
            assert torch.equal(a, b)


def test_bfloat16_autocast(model):
    # a CPU without bfloat16 instructions takes minutes for more pixels, and in the other layout
    if model.spec.name == "padet512_vgg16":
        model, size = create("padet512_vgg16", **WITHOUT_COARSEST), 128
    else:
        size = side(model.spec.name)
    batch = make_batch([1, 1], size)
    images = batch.images.to(memory_format=torch.channels_last)
    model.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model.train()(images)
        total = model.loss(outputs, batch)["total"]
    assert outputs.odm_logits.dtype == torch.bfloat16 and total.dtype == torch.float32 and total.isfinite()
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.zero_grad(set_to_none=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.eval()(images).boxes.isfinite().all()
    model.to(memory_format=torch.contiguous_format)


@pytest.mark.parametrize("name", TRACED)
def test_compiles_in_one_graph_with_its_detections(name):
    whole, images = Whole(create(name).eval()), random_images(name)
    torch.compiler.reset()  # every entry is a recompilation of the same function
    with torch.no_grad():
        want = whole(images)
        got = torch.compile(whole, backend="eager", fullgraph=True)(images)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
