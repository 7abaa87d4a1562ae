from __future__ import annotations

import numpy as np
import pytest
import torch

import refinedet_ext as rx
from refinedet.boxes import box_areas, box_iou


def random_boxes(count, seed):
    corners = np.random.default_rng(seed).uniform(0, 50, (count, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def test_all_pairs_as_the_reference_of_the_ops_has_them():
    a, b = random_boxes(20, 0), random_boxes(30, 1)
    want = rx.reference.box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    got = box_iou(a[:, None], b)
    assert got.shape == (20, 30) and got.dtype == np.float64 and (got > 0).any() and (got == 0).any()
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_boxes_in_their_places():
    a, b = random_boxes(9, 2), random_boxes(9, 3)
    np.testing.assert_array_equal(box_iou(a, b), np.diag(box_iou(a[:, None], b)))
    np.testing.assert_array_equal(box_iou(a[0], b), box_iou(a[:1, None], b)[0])
    assert box_iou(np.zeros((0, 1, 4)), b).shape == (0, 9)


@pytest.mark.parametrize(("pixel", "want"), [(0.0, 25 / 175), (1.0, 36 / 206)])
def test_whether_the_last_pixel_counts(pixel, want):
    a, b = np.array([0.0, 0, 10, 10]), np.array([5.0, 5, 15, 15])
    assert box_iou(a, b, pixel=pixel) == pytest.approx(want) and box_areas(a, pixel=pixel) == (10 + pixel) ** 2


def test_no_area_no_overlap():
    point = np.array([3.0, 3, 3, 3])
    assert box_iou(point, point) == 0 and box_iou(point, point, pixel=1.0) == 1
    assert box_iou(point.astype(np.float32), [0, 0, 9, 9]) == 0
