from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pytest

from refinedet.data.augment import photometric
from refinedet.data.augment.photometric import (
    Distortion,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    distort,
)

from ..makers import make_sample, noise
from .statistics import within_binomial

RAMP = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
IDENTITY = Distortion(probability=0.0)


@pytest.mark.parametrize("delta", [-300.0, -32.0, -0.6, 0.0, 10.4, 31.9, 300.0])
def test_brightness_adds_rounds_and_saturates(delta: float) -> None:
    want = [min(255, max(0, round(value + delta))) for value in range(256)]
    assert adjust_brightness(RAMP, delta)[0, :, 1].tolist() == want


@pytest.mark.parametrize("factor", [0.0, 0.53, 1.0, 1.37, 1.5])
def test_contrast_multiplies_rounds_and_saturates(factor: float) -> None:
    want = [min(255, round(float(np.float32(value) * np.float32(factor)))) for value in range(256)]
    assert adjust_contrast(RAMP, factor)[0, :, 2].tolist() == want


@pytest.mark.parametrize("seed", range(3))
def test_sums_and_products_are_those_of_the_tables(seed: int) -> None:
    rng = np.random.default_rng(seed)
    amounts = [*rng.uniform(-40, 40, 200), -0.5, 0.5, 1.5, 2.5, 1e-9, -300.0, 300.0, 2.5000001]
    for amount in amounts:
        np.testing.assert_array_equal(adjust_brightness(RAMP, amount), cv2.LUT(RAMP, photometric._table(1.0, amount)))
    for factor in [*rng.uniform(0, 2, 200), 0.0, 0.5, 1.0, 1.5, 1e-9, 1e9]:
        np.testing.assert_array_equal(adjust_contrast(RAMP, factor), cv2.LUT(RAMP, photometric._table(factor, 0.0)))


def test_half_to_even_is_left_to_the_table() -> None:
    assert photometric._whole_shift(0.5) is None and photometric._whole_shift(-3.4) == -3
    assert adjust_brightness(RAMP, 0.5)[0, :4, 0].tolist() == [0, 2, 2, 4]


def pixel(hue: int, saturation: int, value: int) -> np.ndarray:
    return cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2BGR)


def to_hsv(image: np.ndarray) -> list[int]:
    return cv2.cvtColor(image, cv2.COLOR_BGR2HSV)[0, 0].tolist()


def test_hue_shifts_the_hue_alone() -> None:
    hue, saturation, value = to_hsv(adjust_hue(pixel(60, 200, 180), 15.0))
    assert abs(hue - 75) <= 1 and abs(saturation - 200) <= 3 and abs(value - 180) <= 1


def test_hue_is_cut_off_at_zero_and_not_wrapped() -> None:
    # 5 - 18 would be 167, violet, if it wrapped; saturated it is 0, red.
    assert to_hsv(adjust_hue(pixel(5, 255, 200), -18.0))[0] == 0
    red, violet = adjust_hue(pixel(5, 255, 200), -18.0)[0, 0], pixel(167, 255, 200)[0, 0]
    assert red.tolist() == [0, 0, 200] and violet[0] > 50


def test_hue_beyond_the_circle_comes_around() -> None:
    got = adjust_hue(pixel(175, 255, 200), 15.0)[0, 0].astype(int)
    assert np.abs(got - pixel(10, 255, 200)[0, 0]).max() <= 2


def test_saturation_scales_and_saturates() -> None:
    hue, saturation, value = to_hsv(adjust_saturation(pixel(60, 100, 180), 1.5))
    assert abs(hue - 60) <= 1 and abs(saturation - 150) <= 3 and abs(value - 180) <= 1
    assert to_hsv(adjust_saturation(pixel(60, 220, 180), 1.5))[1] == 255
    grey = np.full((1, 1, 3), 90, np.uint8)
    np.testing.assert_array_equal(adjust_saturation(grey, 1.5), grey)


def test_the_picture_given_is_never_written_to() -> None:
    sample = make_sample([(1, 2, 3, 4)])
    sample.image.setflags(write=False)
    before = sample.image.copy()
    for seed in range(20):
        out = distort(sample, np.random.default_rng(seed), Distortion(probability=0.9, channel_swap=0.5))
        assert out.image.shape == before.shape and out.image.dtype == np.uint8
        np.testing.assert_array_equal(out.boxes, sample.boxes)
    np.testing.assert_array_equal(sample.image, before)


def record_steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    steps: list[tuple[str, float]] = []
    for name in ("brightness", "contrast", "saturation", "hue"):

        def step(image: np.ndarray, *, name: str = name, **amount: float) -> np.ndarray:
            steps.append((name, *amount.values()))
            return image

        monkeypatch.setattr(photometric, f"adjust_{name}", step)
    return steps


def test_a_fair_coin_decides_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = record_steps(monkeypatch)
    sample, rng = make_sample(), np.random.default_rng(1)
    orders: Counter[tuple[str, ...]] = Counter()
    for _ in range(1000):
        steps.clear()
        distort(sample, rng, Distortion(probability=1.0))
        orders[tuple(name for name, _ in steps)] += 1
    early = orders.pop(("brightness", "contrast", "saturation", "hue"))
    late = orders.pop(("brightness", "saturation", "hue", "contrast"))
    assert not orders and early + late == 1000
    assert within_binomial(early, 1000, 0.5)


def test_each_step_fires_half_the_time_in_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = record_steps(monkeypatch)
    sample, rng = make_sample(), np.random.default_rng(2)
    for _ in range(2000):
        distort(sample, rng)
    ranges = {"brightness": (-32, 32), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "hue": (-18, 18)}
    for name, (low, high) in ranges.items():
        amounts = np.array([amount for step, amount in steps if step == name])
        assert within_binomial(len(amounts), 2000, 0.5), name
        assert low <= amounts.min() < low + 0.02 * (high - low), name
        assert high - 0.02 * (high - low) < amounts.max() <= high, name
        below = int((amounts < (low + high) / 2).sum())
        assert within_binomial(below, len(amounts), 0.5), name


def test_channels_are_swapped_only_on_request() -> None:
    sample = make_sample(image=noise(4, 4))
    rng = np.random.default_rng(3)
    assert all(distort(sample, rng, IDENTITY).image is sample.image for _ in range(50))
    swapped = Counter(
        tuple(distort(sample, rng, Distortion(probability=0.0, channel_swap=1.0)).image[0, 0].tolist())
        for _ in range(600)
    )
    pixel_values = sample.image[0, 0].tolist()
    assert len(swapped) == 6 and all(sorted(key) == sorted(pixel_values) for key in swapped)
    assert all(within_binomial(count, 600, 1 / 6) for count in swapped.values())
