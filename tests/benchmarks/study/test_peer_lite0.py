"""EfficientNet-Lite0 as torchvision's detectors get it is the network that this package has."""

from __future__ import annotations

import importlib.util
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks.study.peer_training.lite0 import STRIDED, lite0, load_published
from refinedet.backbones import EfficientNetLite0
from refinedet.pretrained import LITE0, LITE0_PACKAGE, weights_file

NORM = partial(nn.BatchNorm2d, eps=1e-3)


@pytest.mark.skipif(importlib.util.find_spec(LITE0_PACKAGE) is None, reason="the pretrained weights are not installed")
@pytest.mark.parametrize("size", [(64, 96), (75, 50)])
def test_computes_what_ours_does(size):
    trunk, ours = lite0(NORM), EfficientNetLite0(extras=())
    load_published(trunk, str(weights_file(LITE0)))
    ours.load_weights(weights_file(LITE0))
    x = torch.randn(1, 3, *size)
    with torch.inference_mode():
        expected, found = ours.eval().features[0](x), trunk.eval()[0](x)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(trunk(x), ours(x)[-1], rtol=1e-3, atol=1e-4)


def test_strides_begin_where_they_are_said_to():
    x, strides = torch.randn(1, 3, 64, 64), []
    trunk = lite0(NORM).eval()
    with torch.inference_mode():
        for block in trunk:
            x = block(x)
            strides.append(64 // x.shape[3])
    assert [i for i, (a, b) in enumerate(zip(strides, strides[1:], strict=False), 1) if b != a] == STRIDED
    assert (strides[0], strides[-1], x.shape[1]) == (2, 32, 1280)


def test_refuses_weights_of_another_network(tmp_path):
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(RuntimeError, match="expected 245 tensors for EfficientNet-Lite0, .*other.pth has 1"):
        load_published(lite0(NORM), str(tmp_path / "other.pth"))
