"""Public checkpoints of MobileNet V1: the converted trunk computes what the network does that they are of."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import refinedet
from refinedet.backbones import TORCHVISION_PIXELS, MobileNetV1
from refinedet.cli import main

from ..backbones import torchvision_layouts as layouts

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)  # of the depthwise convolutions
QUARTER = {"tcb_channels": 16, "finest_stride": 8}


def quarter_of_the_first():
    """The names of marvis/pytorch-mobilenet with the widths of pytorchcv's smallest."""
    wide, narrow = layouts.mobilenet_v1(), layouts.pytorchcv_mobilenet(0.25)
    return dict(zip(wide, narrow.values(), strict=True))


LAYOUTS = {"pytorch-mobilenet": quarter_of_the_first(), "pytorchcv-mobilenet_wd4": layouts.pytorchcv_mobilenet(0.25)}


def state_of(layout):
    torch.manual_seed(0)
    state = layouts.tensors(layout)
    for key, value in state.items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point():
            value.normal_(std=0.3)
    return state


def stride32(state, images):
    """Convolution and batch norm in turn, as they stand in the file, up to the classifier."""
    groups = {}
    for key, value in state.items():
        layer, _, field = key.rpartition(".")
        groups.setdefault(layer, {})[field] = value
    *layers, _ = groups.values()
    x, steps = images, iter([2, *(s for stride in STRIDES for s in (stride, 1))])
    for conv, norm in zip(layers[::2], layers[1::2], strict=True):
        weight = conv["weight"]
        depthwise = len(weight) if weight.shape[1] == 1 else 1
        x = F.conv2d(x, weight, stride=next(steps), padding=weight.shape[2] // 2, groups=depthwise)
        x = F.batch_norm(x, norm["running_mean"], norm["running_var"], norm["weight"], norm["bias"])
        x = F.relu(x)
    return x


@pytest.mark.parametrize("source", LAYOUTS)
def test_the_trunk_is_that_of_the_checkpoint(source, tmp_path):
    state = state_of(LAYOUTS[source])
    file = tmp_path / "mobilenet.tar"
    torch.save({"epoch": 1, "arch": "mobilenet", "state_dict": state}, file)
    net = MobileNetV1(0.25).eval()
    extra = net.extras[0].state_dict()
    net.load_weights(file)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(net(images)[2], stride32(state, images), rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, extra[key]) for key, value in net.extras[0].state_dict().items())


def test_the_command_converts_and_a_detector_takes_what_the_weights_expect(tmp_path, capsys):
    file, out = tmp_path / "in.pth", tmp_path / "out.safetensors"
    torch.save(state_of(LAYOUTS["pytorchcv-mobilenet_wd4"]), file)
    assert main(["convert", str(file), str(out), "--from", "pytorchcv-mobilenet_wd4"]) == 0
    assert "backbone_weights of refinedet320_mobilenet_v1" in capsys.readouterr().out
    model = refinedet.create_model("refinedet320_mobilenet_v1", 3, backbone_weights=out, **QUARTER)
    assert model.config.backbone_width == 0.25
    assert {key: getattr(model.config, key) for key in TORCHVISION_PIXELS} == TORCHVISION_PIXELS
    want = state_of(LAYOUTS["pytorchcv-mobilenet_wd4"])["features.stage5.unit2.pw_conv.conv.weight"]
    assert torch.equal(model.backbone.features[13][1][0].weight, want)
    with pytest.raises(ValueError, match="backbone_width: expected 0.25 or nothing"):
        refinedet.create_model("refinedet320_mobilenet_v1", 3, backbone_weights=out, backbone_width=1.0)
