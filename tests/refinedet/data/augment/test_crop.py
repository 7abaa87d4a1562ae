from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refinedet.boxes import box_iou
from refinedet.data.augment.crop import (
    CropOptions,
    crop,
    crop_pool,
    random_crop,
    sample_rectangles,
)

from ..makers import fixed, make_sample
from .statistics import within_binomial

SIZE = (200, 120)
BOXES = [(10, 10, 60, 50), (80, 20, 190, 110), (100, 60, 104, 66)]


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes, written out."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_overlaps_with_the_crops_are_the_ious() -> None:
    rng = np.random.default_rng(0)
    rectangles = sample_rectangles(rng, 50, SIZE)
    boxes = np.array(BOXES, np.float32)
    want = [[iou(tuple(r), tuple(b)) for b in boxes.tolist()] for r in rectangles.tolist()]
    np.testing.assert_allclose(box_iou(rectangles[:, None], boxes), want, rtol=1e-12)


def test_rectangles_lie_inside_and_have_the_wanted_shapes() -> None:
    rectangles = sample_rectangles(np.random.default_rng(1), 20000, SIZE)
    x1, y1, x2, y2 = rectangles.T
    assert rectangles.dtype == np.int64
    assert (x1 >= 0).all() and (y1 >= 0).all() and (x2 <= 200).all() and (y2 <= 120).all()
    width, height = (x2 - x1) / 200, (y2 - y1) / 120
    scale = np.sqrt(width * height)
    assert 0.28 < scale.min() < 0.33 and scale.max() > 0.97
    # s uniform in 0.3..1; whole pixels cut a little off, hence the margin of one percent.
    assert within_binomial(int((scale < 0.64).sum()), 20000, 0.5)
    ratio = width / height
    assert 0.45 < ratio.min() < 0.55 and 1.85 < ratio.max() < 2.2
    # At a scale of 0.9 and more the ratio is limited to what fits: 0.81 to 1 / 0.81.
    assert (ratio[scale > 0.9] > 0.79).all() and (ratio[scale > 0.9] < 1.27).all()
    # And limiting keeps the area: without it, wide and high crops would lose what sticks out.
    assert within_binomial(int((scale > 0.9).sum()), 20000, 0.092 / 0.7)
    small = scale < 0.6
    place = x1[small] / (200 - (x2 - x1)[small])
    assert within_binomial(int((place < 0.5).sum()), int(small.sum()), 0.505)


@fixed
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    low=st.floats(0.05, 1.0),
)
def test_rectangles_of_tiny_pictures_are_never_empty(seed: int, size: tuple[int, int], low: float) -> None:
    options = CropOptions(scale=(low, 1.0))
    for x1, y1, x2, y2 in sample_rectangles(np.random.default_rng(seed), 20, size, options).tolist():
        assert 0 <= x1 < x2 <= size[0] and 0 <= y1 < y2 <= size[1]


def test_all_objects_keep_the_minimum_iou_on_request() -> None:
    boxes = [(10, 10, 150, 100), (60, 20, 190, 110)]
    sample, rng = make_sample(boxes, size=SIZE), np.random.default_rng(3)
    found = {}
    for objects in ("any", "all"):
        options = CropOptions(min_ious=(0.5,), trials=200, objects=objects)
        crops = [pool[0].tolist() for pool in (crop_pool(sample, rng, options) for _ in range(200)) if len(pool)]
        found[objects] = [sorted(iou(tuple(c), b) for b in boxes) for c in crops]
    assert len(found["all"]) > 50 and all(least >= 0.5 for least, _ in found["all"])
    assert all(most >= 0.5 for _, most in found["any"]) and any(least < 0.5 for least, _ in found["any"])


def test_the_minimum_iou_holds_for_every_accepted_crop() -> None:
    sample, rng = make_sample(BOXES, size=SIZE), np.random.default_rng(2)
    for wanted in (0.1, 0.3, 0.5, 0.7, 0.9):
        options = CropOptions(min_ious=(wanted,), trials=500)
        accepted = [crop_pool(sample, rng, options) for _ in range(100)]
        found = [pool[0].tolist() for pool in accepted if len(pool)]
        assert len(found) > 5, wanted
        for rectangle in found:
            assert max(iou(rectangle, box) for box in BOXES) >= wanted


def test_impossible_samplers_leave_the_pool() -> None:
    sample = make_sample([(0, 0, 2, 2)], size=SIZE)  # no crop overlaps a speck that well
    pool = crop_pool(sample, np.random.default_rng(3))
    assert len(pool) == 1  # the sampler without a wanted overlap


def test_the_first_accepted_trial_of_each_sampler_is_taken() -> None:
    sample = make_sample(BOXES, size=SIZE)
    options = CropOptions(min_ious=(0.3, 0.5, None), trials=40)
    for seed in range(30):
        pool = crop_pool(sample, np.random.default_rng(seed), options).tolist()
        trials = sample_rectangles(np.random.default_rng(seed), 120, SIZE, options).tolist()
        want = []
        for number, wanted in enumerate(options.min_ious):
            for rectangle in trials[40 * number : 40 * (number + 1)]:
                if max(iou(rectangle, box) for box in BOXES) >= (wanted or 0):
                    want.append(rectangle)
                    break
        assert pool == want


def test_pictures_without_objects_are_never_cropped() -> None:
    rng = np.random.default_rng(4)
    for sample in (make_sample(size=SIZE), make_sample([(0, 0, 200, 120)], size=SIZE, crowd=[True])):
        assert len(crop_pool(sample, rng)) == 0
        assert all(random_crop(sample, rng) is sample for _ in range(20))


def test_the_full_picture_and_every_crop_are_as_likely() -> None:
    # One box as large as the image: every sampler but that of 0.9 finds a crop for sure.
    sample = make_sample([(0, 0, *SIZE)], size=SIZE)
    rng = np.random.default_rng(5)
    options = CropOptions(min_ious=(0.1, 0.3, None))
    untouched = sum(random_crop(sample, rng, options=options) is sample for _ in range(2000))
    assert within_binomial(untouched, 2000, 1 / 4)


def test_probability() -> None:
    sample, rng = make_sample(BOXES, size=SIZE), np.random.default_rng(6)
    assert all(random_crop(sample, rng, probability=0.0) is sample for _ in range(50))


def test_crop_keeps_objects_by_their_centres_and_clips() -> None:
    boxes = [
        (10, 10, 30, 30),  # centre inside, all of it inside
        (0, 0, 20, 20),  # centre (10, 10) inside, sticks out
        (0, 0, 10, 12),  # centre (5, 6) on the left edge: stays
        (0, 0, 9.9, 12),  # centre just outside, though it overlaps
        (40, 20, 70, 40),  # centre on the right edge: stays
        (42, 20, 70, 40),  # centre outside
        (100, 100, 110, 110),
    ]
    sample = make_sample(boxes, size=SIZE, crowd=[False] * 6 + [True])
    sample.difficult[4] = True
    out = crop(sample, (5, 4, 55, 44))
    np.testing.assert_array_equal(out.image, sample.image[4:44, 5:55])
    assert out.size == (50, 40)
    assert out.boxes.tolist() == [[5, 6, 25, 26], [0, 0, 15, 16], [0, 0, 5, 8], [35, 16, 50, 36]]
    assert out.boxes.dtype == np.float32
    assert out.labels.tolist() == [1, 2, 3, 5]
    assert out.difficult.tolist() == [False, False, False, True] and not out.crowd.any()


def test_a_crop_may_leave_no_object() -> None:
    out = crop(make_sample([(0, 0, 10, 10)], size=SIZE), (50, 50, 90, 90))
    assert out.boxes.shape == (0, 4) and out.labels.shape == (0,) and out.size == (40, 40)


@pytest.mark.parametrize("rectangle", [(5, 5, 5, 9), (-1, 0, 9, 9), (0, 0, 201, 9), (9, 9, 3, 20)])
def test_crop_refuses_rectangles(rectangle: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="rectangle: expected one inside 200 x 120 pixels"):
        crop(make_sample(size=SIZE), rectangle)


@fixed
@given(seed=st.integers(0, 2**32))
def test_random_crops_keep_exactly_the_objects_with_centres_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 1, (8, 2)) * (180, 100)
    sample = make_sample(np.concatenate([corners, corners + rng.uniform(1, 20, (8, 2))], axis=1).tolist(), size=SIZE)
    for x1, y1, x2, y2 in crop_pool(sample, rng).tolist():
        out = crop(sample, (x1, y1, x2, y2))
        centres = (sample.boxes[:, :2] + sample.boxes[:, 2:]) / 2
        inside = [i + 1 for i, (x, y) in enumerate(centres.tolist()) if x1 <= x <= x2 and y1 <= y <= y2]
        assert out.labels.tolist() == inside
        assert (out.boxes[:, :2] >= 0).all() and (out.boxes[:, 2:] <= (x2 - x1, y2 - y1)).all()
        assert (out.boxes[:, :2] < out.boxes[:, 2:]).all()
