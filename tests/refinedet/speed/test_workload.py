"""Random weights leave as much to do after the network as trained ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import refinedet
import refinedet_ext as rx
from refinedet.speed.workload import ANCHORS_KEPT, SCORES_PER_ANCHOR, make_as_busy_as_trained, noise_images, sized
from refinedet.structures import to_tensor


def busy(name, **options):
    torch.manual_seed(0)
    model = refinedet.create_model(name, 5, input_size=128, **options)
    images = noise_images(2, 128)
    before = {key: value.clone() for key, value in model.named_parameters()}
    make_as_busy_as_trained(model, images)
    with torch.no_grad():
        pixels = model.normalization.apply(torch.stack([to_tensor(image) for image in images]))
        return model, model.head_outputs(pixels), before


@pytest.mark.parametrize("name", ["refinedet192_small", "efgrnet192_small", "padet192_small"])
def test_as_many_anchors_and_scores_pass_as_with_a_trained_detector(name):
    model, outputs, before = busy(name)
    kept = rx.filter_anchors_mask(outputs.arm_logits, model.config.theta)
    assert int(kept.sum()) == pytest.approx(ANCHORS_KEPT * kept.numel(), abs=1)
    scores = outputs.odm_logits.softmax(-1)[..., 1:][kept]
    passed = int((scores > model.nms.score_threshold).sum())
    assert passed == pytest.approx(SCORES_PER_ANCHOR * ANCHORS_KEPT * kept.numel(), abs=2)
    assert not model.training
    for key, value in model.named_parameters():  # the network itself is the one that was made
        assert torch.equal(value, before[key])


def test_soft_nms_drops_boxes_at_the_same_share_of_the_threshold():
    model, _, _ = busy("padet192_small", nms={"preset": "padet", "min_score": 0.005})
    assert model.nms.min_score == pytest.approx(model.nms.score_threshold / 2)


def test_a_single_stage_keeps_all_anchors():
    model, _, _ = busy("efgrnet192_small", cascade=False)
    assert model.config.theta == 0.99


def test_momenta_stay_and_statistics_are_those_of_the_images():
    model, _, _ = busy("efgrnet192_small")
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and all(norm.momentum is not None and int(norm.num_batches_tracked) == 1 for norm in norms)
    assert any(not torch.allclose(norm.running_var, torch.ones_like(norm.running_var), atol=0.1) for norm in norms)


def test_a_network_that_overflows_is_named():
    model = refinedet.create_model("refinedet192_small", 5, input_size=64)
    with torch.no_grad():
        next(model.odm.parameters()).fill_(torch.inf)
    with pytest.raises(FloatingPointError, match="model: with random weights its odm_logits are not finite"):
        make_as_busy_as_trained(model, noise_images(2, 64))


def test_images_are_the_same_every_time_and_of_the_inputs_size():
    first, second = noise_images(3, 64), noise_images(3, 64)
    assert all(image.shape == (64, 64, 3) and image.dtype == np.uint8 for image in first)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[1]) and first[0].std() > 20
    (small,) = sized([np.zeros((30, 50, 3), np.uint8)], 64)
    assert small.shape == (64, 64, 3)
