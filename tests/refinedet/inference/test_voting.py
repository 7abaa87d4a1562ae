from __future__ import annotations

import numpy as np
import pytest

from refinedet.inference import box_voting, soft_box_voting

# two boxes of 10 x 10 pixels (both ends count), the second shifted by 2: they share 8 * 10 of 120 pixels, IoU 2/3
PAIR = np.array([[0.0, 0, 9, 9], [2, 0, 11, 9]])


def test_a_cluster_becomes_its_weighted_mean():
    boxes, scores = box_voting(PAIR, np.array([0.6, 0.2]))
    np.testing.assert_allclose(boxes, [[0.5, 0, 9.5, 9]])
    np.testing.assert_allclose(scores, [0.6])


def test_single_boxes_stay_and_come_by_score():
    far = np.array([[0.0, 0, 9, 9], [50, 50, 59, 59], [100, 0, 100, 0]])
    boxes, scores = box_voting(far, np.array([0.3, 0.9, 0.5]))
    np.testing.assert_allclose(boxes, far[[1, 2, 0]])
    np.testing.assert_allclose(scores, [0.9, 0.5, 0.3])


def test_threshold_is_inclusive():
    for threshold, left in ((2 / 3, 1), (np.nextafter(2 / 3, 1), 2)):
        assert len(box_voting(PAIR, np.array([0.6, 0.2]), iou_threshold=threshold)[0]) == left


def test_soft_voting_keeps_members_with_less_score():
    boxes, scores = soft_box_voting(PAIR, np.array([0.6, 0.3]), min_score=0.05)
    np.testing.assert_allclose(boxes, [[2 / 3, 0, 9 + 2 / 3, 9], [2, 0, 11, 9]])
    np.testing.assert_allclose(scores, [0.6, 0.3 * (1 - 2 / 3)])
    assert len(soft_box_voting(PAIR, np.array([0.6, 0.3]), min_score=0.11)[0]) == 1


@pytest.mark.parametrize("vote", [box_voting, soft_box_voting])
def test_ordinary_oddities(vote):
    boxes, scores = vote(np.zeros((0, 4)), np.zeros(0))
    assert boxes.shape == (0, 4) and scores.shape == (0,)
    boxes, scores = vote(np.array([[5.0, 5, 3, 3], [5, 5, 3, 3]]), np.array([0.0, 0.0]))  # turned over, no score
    assert np.isfinite(boxes).all() and scores.tolist() == [0.0] * len(scores)
    with pytest.raises(ValueError, match=r"boxes: expected shape \(N, 4\), got \(4,\)"):
        vote(np.zeros(4), np.zeros(1))
    with pytest.raises(ValueError, match=r"scores: expected shape \(2,\), got \(3,\)"):
        vote(np.zeros((2, 4)), np.zeros(3))
