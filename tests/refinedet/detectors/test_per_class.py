from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx
from refinedet.detectors.per_class import limit_per_class

from .efgrnet_models import tiny


def make(labels, rows):
    """Detections with these labels, the best first, padded."""
    batch = len(labels)
    found = rx.Detections(
        torch.zeros(batch, rows, 4),
        torch.zeros(batch, rows),
        torch.zeros(batch, rows, dtype=torch.int64),
        torch.tensor([len(row) for row in labels]),
    )
    for b, row in enumerate(labels):
        for i, label in enumerate(row):
            found.boxes[b, i], found.scores[b, i], found.labels[b, i] = i + 1.0, 1 - i / 100, label
    return found


def test_the_best_of_each_class_stay_in_order():
    found = limit_per_class(make([[2, 1, 2, 2, 1, 3], [1, 1, 1], []], rows=8), limit=2, rows=6)
    assert found.count.tolist() == [5, 2, 0]
    assert found.labels.tolist() == [[2, 1, 2, 1, 3, 0], [1, 1, 0, 0, 0, 0], [0] * 6]
    torch.testing.assert_close(found.scores[0], torch.tensor([1.0, 0.99, 0.98, 0.96, 0.95, 0.0]))
    assert found.boxes[0, :, 0].tolist() == [1, 2, 3, 5, 6, 0] and not found.boxes[2].any()


def test_rows_limit_what_is_left():
    found = limit_per_class(make([[1, 1, 1, 2, 3]], rows=5), limit=1, rows=2)
    assert found.labels.tolist() == [[1, 2]] and found.count.tolist() == [2]


def test_no_images():
    assert limit_per_class(make([], rows=4), limit=2, rows=3).boxes.shape == (0, 3, 4)


@pytest.mark.parametrize("seed", range(3))
def test_against_plain_python(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = [torch.randint(1, 6, (60,), generator=generator).tolist() for _ in range(2)]
    found = limit_per_class(make(labels, rows=64), limit=7, rows=64)
    for b, row in enumerate(labels):
        want = [i for i, label in enumerate(row) if row[:i].count(label) < 7]
        assert found.count[b] == len(want)
        assert found.boxes[b, : len(want), 0].tolist() == [i + 1 for i in want]


@torch.no_grad()
def test_the_detector_uses_it():
    model = tiny(nms={"preset": "efgrnet", "score_threshold": 0.0, "iou_threshold": 1.0, "keep_per_class": 3}).eval()
    found = model(torch.randn(2, 3, 64, 64))
    assert found.boxes.shape == (2, 1000, 4)
    for labels, count in zip(found.labels, found.count, strict=True):
        assert torch.bincount(labels[:count])[1:].tolist() == [3, 3, 3]
