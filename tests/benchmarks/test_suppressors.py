"""Other libraries' suppression keeps the same boxes as ours; what is not installed is None."""

from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx
from benchmarks import suppressors as module
from benchmarks.inputs import detections
from benchmarks.suppressors import suppressors

IOU = 0.45
FOUND = suppressors(IOU)


@pytest.mark.parametrize("classes", [1, 20])
@pytest.mark.parametrize("name", FOUND)
def test_keeps_the_same_boxes(name, classes):
    suppressor = FOUND[name]
    if suppressor is None:
        pytest.skip(f"{name} is not installed")
    boxes, scores, idxs = detections(1000, classes, torch.Generator().manual_seed(0))
    expected = rx.nms(boxes, scores, IOU) if classes == 1 else rx.batched_nms(boxes, scores, idxs, IOU)
    assert torch.equal(suppressor(boxes, scores, *([] if classes == 1 else [idxs])), expected)


def test_what_is_not_installed_is_none(monkeypatch):
    monkeypatch.setattr(module, "optional", lambda name: None)
    assert suppressors(IOU) == dict.fromkeys(FOUND)
