"""examples/swap_in_torchvision.py and what docs/ops/replace.md has of torchvision, where that is installed."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import refinedet_ext as rx

from .conftest import EXAMPLES

torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed")
sys.path.insert(0, str(EXAMPLES))
example = importlib.import_module("swap_in_torchvision")
sys.path.pop(0)

PAGE = Path(__file__).parents[2] / "docs/ops/replace.md"
SMALL = {"min_size": 240}
MODELS = {
    "ssd300_vgg16": {"score_thresh": 0.0},
    "ssdlite320_mobilenet_v3_large": {"score_thresh": 0.0},
    "retinanet_resnet50_fpn": {"score_thresh": 0.0, **SMALL},
    "fcos_resnet50_fpn": {"score_thresh": 0.0, **SMALL},
    "fasterrcnn_resnet50_fpn": {"box_score_thresh": 0.0, **SMALL},
}


@pytest.fixture
def torchvision_as_it_was(monkeypatch):
    """Whatever a test assigns is undone."""
    for module, name in (
        (torchvision.ops.boxes, "batched_nms"),
        (torchvision.ops.deform_conv, "deform_conv2d"),
        (torchvision.models.detection.ssd.SSD, "postprocess_detections"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))


def page_blocks() -> list[str]:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    return [block for block in blocks if "torchvision" in block]


def run(block: str) -> None:
    exec(compile(block, PAGE.name, "exec"), {"rx": rx})


def model(name: str, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    made = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21, **MODELS[name])
    example.spread_scores(made, example.MODELS.get(name, 10))
    return made


@torch.inference_mode()
def scores(made: torch.nn.Module, images: list[torch.Tensor]) -> list[torch.Tensor]:
    found = made([image.clone() for image in images])
    assert all(len(one["scores"]) > 20 for one in found)
    return [one["scores"] for one in found]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", MODELS)
def test_detectors_keep_the_same_boxes(name, seed, torchvision_as_it_was):
    """The sets, of every call; the order of equal scores, and so which of them a limit cuts, may differ."""
    made = model(name, seed)
    images = [torch.rand(3, 200, 260), torch.rand(3, 240, 180)]
    theirs, calls = torchvision.ops.boxes.batched_nms, []

    def both(*given):
        kept, ours = theirs(*given), rx.batched_nms(*given)
        assert sorted(kept.tolist()) == sorted(ours.tolist())
        calls.append(len(kept))
        return kept

    torchvision.ops.boxes.batched_nms = both
    expected = scores(made, images)
    assert len(calls) == (4 if "rcnn" in name else 2) and min(calls) > 50
    run(page_blocks()[0])
    assert torchvision.ops.boxes.batched_nms is rx.batched_nms
    torch.testing.assert_close(scores(made, images), expected, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ssd300_vgg16", "ssdlite320_mobilenet_v3_large"])
def test_one_call_is_the_post_processing_of_an_ssd(name, torchvision_as_it_was):
    made = model(name, 0)
    images = [torch.rand(3, 200, 260), torch.rand(3, 240, 180)]
    expected = rows(made, images)
    run(page_blocks()[1])
    torch.testing.assert_close(rows(made, images), expected)


@torch.inference_mode()
def rows(made: torch.nn.Module, images: list[torch.Tensor]) -> list[torch.Tensor]:
    """Detections of each image, in an order that does not depend on equal scores."""
    found = made([image.clone() for image in images])
    return [torch.column_stack([one["scores"], one["labels"], one["boxes"]]).unique(dim=0) for one in found]


def test_deformable_layers_up_to_rounding(torchvision_as_it_was):
    layer = torchvision.ops.DeformConv2d(8, 6, 3, padding=2, dilation=2, groups=2)
    given = torch.rand(2, 8, 9, 7), torch.randn(2, 36, 9, 7), torch.rand(2, 18, 9, 7)
    expected = layer(*given)
    run(page_blocks()[0])
    torch.testing.assert_close(layer(*given), expected)
    ours = rx.nn.DeformAlign(8, 6, 3, padding=2, dilation=2, groups=2)
    ours.load_state_dict(layer.state_dict())
    torch.testing.assert_close(ours(*given), expected)


@pytest.mark.slow
def test_the_example_says_that_results_are_the_same():
    command = [sys.executable, str(EXAMPLES / "swap_in_torchvision.py"), "--rounds=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\w+ +same results; the op +[\d.]+ ms, ours +[\d.]+", done.stdout, re.M)) == 5
