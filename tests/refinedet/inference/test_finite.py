from __future__ import annotations

import numpy as np
import pytest
import torch

import refinedet
from refinedet import Predictor
from refinedet.inference import MultiScale, Pass

from ..detectors.test_refinedet import tiny

IMAGE = np.zeros((40, 60, 3), np.uint8)


@pytest.fixture
def model():
    return tiny().eval()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_named(value, model, tmp_path):
    path = refinedet.save_model(broken(value), tmp_path / "bad.safetensors")
    message = "expected finite weights, got NaN or infinity in arm.cls.0.bias; the training that made them has diverged"
    for load in (refinedet.load_model, Predictor.from_file):
        with pytest.raises(ValueError, match=f"weights: .*bad.safetensors: {message}"):
            load(path)
    with pytest.raises(ValueError, match=f"model: {message}"):
        Predictor(broken(value))


def broken(value):
    model = refinedet.create_model("refinedet192_small", 4, input_size=64, tcb_channels=16)
    with torch.no_grad():
        model.arm.cls[0].bias[0] = value
    return model


def test_many_tensors_are_counted(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"in \S+, \S+, \S+ and \d+ more; the training"):
        Predictor(model)


@pytest.mark.parametrize("recipe", [None, MultiScale((Pass(64, 64),))])
def test_a_network_that_overflows_says_so(recipe, model):
    predictor = Predictor(model, multi_scale=recipe)
    with torch.no_grad():
        model.odm.cls[0].weight.fill_(3e38)  # finite, and its sums are not
    with pytest.raises(FloatingPointError, match="model: its odm_logits hold NaN or infinity"):
        predictor(IMAGE)
