"""Deferred steps give the bits of the steps one by one on whole images."""

from __future__ import annotations

from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refinedet.data import TrainPipeline, sample_rng
from refinedet.data.augment import pipeline as pipeline_module
from refinedet.data.augment.deferred import DeferredImage, deferred, map_pixels, pixels_of
from refinedet.data.augment.photometric import adjust_contrast, adjust_hue, adjust_saturation

from ..makers import fixed, make_sample, noise

CONTRAST, HUE = partial(adjust_contrast, factor=1.3), partial(adjust_hue, delta=-7.3)
SATURATION = partial(adjust_saturation, factor=0.7)
SIZES = st.integers(1, 150)


@fixed
@given(SIZES, SIZES, st.data())
def test_colours_of_a_part_are_those_of_the_whole(width: int, height: int, data: st.DataObject) -> None:
    image = noise(width, height)
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    want = HUE(SATURATION(CONTRAST(image)))[y1:y2, x1:x2]
    made = DeferredImage(image).map(CONTRAST).map(SATURATION).map(HUE).part((x1, y1, x2, y2))
    assert made.shape == want.shape
    np.testing.assert_array_equal(made.pixels(), want)


@fixed
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_a_part_of_a_canvas(width: int, height: int, data: st.DataObject) -> None:
    image = noise(width, height)
    left, top, right, bottom = (data.draw(st.integers(0, 70)) for _ in range(4))
    canvas = (left + width + right, top + height + bottom)
    x1, y1 = data.draw(st.integers(0, canvas[0] - 1)), data.draw(st.integers(0, canvas[1] - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, canvas[0])), data.draw(st.integers(y1 + 1, canvas[1]))
    whole = cv2.copyMakeBorder(HUE(image), top, bottom, left, right, cv2.BORDER_CONSTANT, value=(10.5, 20.5, 30.2))
    made = DeferredImage(image).map(HUE).on_canvas(canvas, (left, top), (10.5, 20.5, 30.2)).part((x1, y1, x2, y2))
    np.testing.assert_array_equal(made.pixels(), whole[y1:y2, x1:x2])
    after = DeferredImage(image).on_canvas(canvas, (left, top), (10.5, 20.5, 30.2)).map(CONTRAST).part((x1, y1, x2, y2))
    plain = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(10.5, 20.5, 30.2))
    np.testing.assert_array_equal(after.pixels(), CONTRAST(plain)[y1:y2, x1:x2])


def test_a_part_on_a_canvas_does_not_show_what_was_cut_off() -> None:
    image = noise(40, 30)
    made = DeferredImage(image).part((10, 5, 30, 25)).on_canvas((60, 60), (20, 20), (1, 2, 3))
    want = cv2.copyMakeBorder(image[5:25, 10:30], 20, 20, 20, 20, cv2.BORDER_CONSTANT, value=(1, 2, 3))
    np.testing.assert_array_equal(made.pixels(), want)
    twice = made.on_canvas((70, 80), (3, 4), (9, 9, 9)).part((0, 0, 50, 50))
    whole = cv2.copyMakeBorder(want, 4, 16, 3, 7, cv2.BORDER_CONSTANT, value=(9, 9, 9))
    np.testing.assert_array_equal(twice.pixels(), whole[:50, :50])


def test_the_image_given_stays_as_it_was_and_is_not_copied_for_nothing() -> None:
    image = noise(64, 48)
    image.setflags(write=False)
    assert np.shares_memory(DeferredImage(image).part((3, 4, 20, 30)).pixels(), image)
    first = DeferredImage(image).map(CONTRAST)
    first.map(HUE)
    first.part((0, 0, 5, 5))
    np.testing.assert_array_equal(first.pixels(), CONTRAST(image))
    assert deferred(first) is first and pixels_of(image) is image
    np.testing.assert_array_equal(map_pixels(image, CONTRAST), CONTRAST(image))


ORDERS: list[dict[str, Any]] = [
    {},
    {"channel_swap_probability": 0.5},
    {"steps": ("crop", "distort", "expand", "flip", "resize"), "expand_shape": (0.5, 2.0), "keep_objects": True},
    {"steps": ("distort", "crop", "flip", "expand", "resize")},
    {"steps": ("resize", "flip", "distort", "expand", "crop")},
]


@pytest.mark.parametrize("options", ORDERS)
def test_a_pipeline_gives_what_it_gives_step_by_step(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sample = make_sample([(3, 4, 60, 50), (20, 10, 90, 70)], size=(101, 77))
    pipeline = TrainPipeline(64, **options)
    got = [pipeline(sample, sample_rng(0, 0, i)) for i in range(60)]
    monkeypatch.setattr(pipeline_module, "deferred", lambda image: image)
    for i, one in enumerate(got):
        want = pipeline(sample, sample_rng(0, 0, i))
        np.testing.assert_array_equal(one.image, want.image)
        np.testing.assert_array_equal(one.boxes, want.boxes)
