from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refinedet.data.augment.flip import flip, random_flip
from refinedet.data.augment.resize import INTERPOLATIONS, random_resize, resize

from ..makers import fixed, make_sample
from .statistics import within_binomial


def test_resize_moves_boxes_with_the_pixels() -> None:
    sample = make_sample([(16, 12, 32, 48)])  # 64 x 48
    out = resize(sample, (128, 24))
    assert out.size == (128, 24) and out.image.dtype == np.uint8
    assert out.boxes.tolist() == [[32, 6, 64, 24]] and out.boxes.dtype == np.float32
    assert out.original_size == (64, 48)
    np.testing.assert_array_equal(out.image, cv2.resize(sample.image, (128, 24)))


@fixed
@given(st.integers(1, 2000), st.integers(1, 2000), st.sampled_from([32, 300, 320, 512]))
def test_a_box_on_the_edge_stays_on_the_edge(width: int, height: int, side: int) -> None:
    sample = make_sample([(0, 0, width, height)], image=np.zeros((height, width, 3), np.uint8))
    assert resize(sample, (side, side), "nearest").boxes.tolist() == [[0, 0, side, side]]


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_every_interpolation_keeps_8_bits(name: str) -> None:
    sample = make_sample()
    out = resize(sample, (20, 20), name)
    assert out.image.dtype == np.uint8 and out.image.shape == (20, 20, 3)
    np.testing.assert_array_equal(resize(sample, sample.size, name).image, sample.image)


def test_unknown_interpolation() -> None:
    with pytest.raises(ValueError, match="interpolation: expected one of .*'lanczos4'.*, got 'bicubic'"):
        resize(make_sample(), (20, 20), "bicubic")


def test_interpolations_are_as_likely() -> None:
    sample, rng = make_sample(), np.random.default_rng(0)
    names = {resize(sample, (20, 20), name).image.tobytes(): name for name in INTERPOLATIONS}
    assert len(names) == 5
    drawn = Counter(names[random_resize(sample, rng, (20, 20)).image.tobytes()] for _ in range(1000))
    assert set(drawn) == {"linear", "area", "nearest", "cubic", "lanczos4"}
    assert all(within_binomial(count, 1000, 1 / 5) for count in drawn.values())
    only = {names[random_resize(sample, rng, (20, 20), ["area", "cubic"]).image.tobytes()] for _ in range(50)}
    assert only == {"area", "cubic"}


def test_flip_mirrors_pixels_and_boxes() -> None:
    sample = make_sample([(0, 0, 10, 10), (50, 5, 64, 48)])
    out = flip(sample)
    np.testing.assert_array_equal(out.image, sample.image[:, ::-1])
    assert out.boxes.tolist() == [[54, 0, 64, 10], [0, 5, 14, 48]]
    assert sample.boxes.tolist() == [[0, 0, 10, 10], [50, 5, 64, 48]]


def test_flip_twice_is_identity() -> None:
    sample = make_sample([(0.5, 0, 10.25, 10), (50, 5, 64, 48)], size=(65, 48))
    again = flip(flip(sample))
    np.testing.assert_array_equal(again.image, sample.image)
    np.testing.assert_array_equal(again.boxes, sample.boxes)
    assert flip(make_sample()).boxes.shape == (0, 4)


def test_flip_probability() -> None:
    sample, rng = make_sample(), np.random.default_rng(1)
    flipped = sum(random_flip(sample, rng) is not sample for _ in range(1000))
    assert within_binomial(flipped, 1000, 0.5)
    assert all(random_flip(sample, rng, probability=0.0) is sample for _ in range(50))
    assert all(random_flip(sample, rng, probability=1.0) is not sample for _ in range(50))
