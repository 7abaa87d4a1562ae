from __future__ import annotations

import numpy as np
import pytest

from refinedet.data.augment.expand import expand, random_expand

from ..makers import make_sample
from .statistics import within_binomial


def test_the_picture_is_pasted_and_the_rest_is_the_mean() -> None:
    sample = make_sample([(1, 2, 30, 40)], size=(40, 50))
    out = expand(sample, (100, 120), (13, 57))
    assert out.size == (100, 120)
    np.testing.assert_array_equal(out.image[57:107, 13:53], sample.image)
    outside = np.ones((120, 100), bool)
    outside[57:107, 13:53] = False
    assert (out.image[outside] == (104, 117, 123)).all()
    assert out.boxes.tolist() == [[14, 59, 43, 97]] and out.boxes.dtype == np.float32
    assert out.original_size == sample.original_size


def test_fill_is_rounded() -> None:
    out = expand(make_sample(size=(2, 2)), (3, 2), (0, 0), fill=(1.4, 2.6, 300.0))
    assert out.image[0, 2].tolist() == [1, 3, 255]


def test_the_same_canvas_changes_nothing() -> None:
    sample = make_sample([(1, 2, 3, 4)])
    out = expand(sample, sample.size, (0, 0))
    np.testing.assert_array_equal(out.image, sample.image)
    np.testing.assert_array_equal(out.boxes, sample.boxes)


@pytest.mark.parametrize(("canvas", "offset"), [((63, 48), (0, 0)), ((70, 50), (7, 0)), ((70, 50), (-1, 0))])
def test_refuses_what_does_not_fit(canvas: tuple[int, int], offset: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="canvas: expected room for 64 x 48 pixels"):
        expand(make_sample(), canvas, offset)


def test_random_ratios_and_offsets() -> None:
    sample, rng = make_sample([(0, 0, 64, 48)]), np.random.default_rng(0)
    ratios, places = [], []
    for _ in range(2000):
        out = random_expand(sample, rng)
        if out is sample:
            continue
        width, height = out.size
        ratios.append(width / 64)
        assert abs(width / 64 - height / 48) < 1 / 48  # one ratio for both sides, cut to whole pixels
        left, top, right, bottom = out.boxes[0].tolist()
        assert (right - left, bottom - top) == (64, 48)
        assert 0 <= left <= width - 64 and 0 <= top <= height - 48
        assert left == int(left) and top == int(top)
        if width >= 128:
            places.append((left / (width - 64), top / (height - 48)))
    assert within_binomial(len(ratios), 2000, 0.5)
    assert 1.0 <= min(ratios) < 1.1 and 3.9 < max(ratios) <= 4.0
    assert within_binomial(sum(ratio < 2.5 for ratio in ratios), len(ratios), 0.5)
    for axis in (0, 1):  # offsets are cut down to whole pixels, hence 0.49
        assert within_binomial(sum(place[axis] < 0.49 for place in places), len(places), 0.5)


def test_probability_and_ratio_options() -> None:
    sample, rng = make_sample(), np.random.default_rng(0)
    assert all(random_expand(sample, rng, probability=0.0) is sample for _ in range(50))
    always = [random_expand(sample, rng, probability=1.0, max_ratio=1.5) for _ in range(200)]
    assert all(out is not sample and out.size[0] <= 96 for out in always)
    assert random_expand(sample, rng, probability=1.0, max_ratio=1.0).size == sample.size


def test_canvas_of_another_shape_keeps_its_area_and_holds_the_picture() -> None:
    sample, rng = make_sample([(0, 0, 640, 480)], size=(640, 480)), np.random.default_rng(5)
    shapes = []
    for _ in range(400):
        width, height = random_expand(sample, rng, probability=1.0, shape=(0.5, 2.0)).size
        assert width >= 640 and height >= 480
        ratio = ((width / 640) * (height / 480)) ** 0.5
        assert 0.99 <= ratio <= 4.0
        shape = (width / 640) / (height / 480)
        assert max(0.5, ratio**-2) - 0.02 < shape < min(2.0, ratio**2) + 0.02
        if ratio > 1.5:  # where the image limits nothing, uniform between 1/2 and 2
            shapes.append(shape)
    assert min(shapes) < 0.6 and max(shapes) > 1.9
    assert within_binomial(sum(shape < 1.25 for shape in shapes), len(shapes), 0.5)


def test_a_shape_of_one_draws_the_same_numbers_as_before() -> None:
    sample = make_sample([(0, 0, 64, 48)])
    plain, again = (
        random_expand(sample, np.random.default_rng(7), probability=1.0, **o) for o in ({}, {"shape": (1.0, 1.0)})
    )
    rng = np.random.default_rng(7)
    rng.random()
    ratio = rng.uniform(1.0, 4.0)
    assert plain.size == again.size == (int(64 * ratio), int(48 * ratio))
