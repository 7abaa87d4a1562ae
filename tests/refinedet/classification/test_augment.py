from __future__ import annotations

import numpy as np
import pytest

from refinedet.classification.augment import MiddlePart, RandomPart, random_part
from refinedet.structures import Normalization, Sample


def sample_of(width: int, height: int) -> Sample:
    """A picture whose blue and green tell the place."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), 0 * x], axis=-1).astype(np.uint8)
    one = np.zeros(1, bool)
    box = np.array([[0, 0, width, height]], np.float32)
    return Sample(image, box, np.array([2]), one, one, "a", "a.png", (width, height))


def test_random_parts_have_the_shares_and_ratios_that_they_are_drawn_from():
    rng = np.random.default_rng(0)
    parts = np.array([random_part(rng, (400, 300), (0.2, 0.5)) for _ in range(2000)])
    width, height = (parts[:, 2:] - parts[:, :2]).T
    share, ratio = width * height / 120_000, width / height
    assert share.min() > 0.19 and share.max() < 0.51 and share.mean() == pytest.approx(0.35, abs=0.01)
    assert ratio.min() > 0.73 and ratio.max() < 1.36 and np.log(ratio).mean() == pytest.approx(0, abs=0.02)
    assert parts[:, :2].min() == 0 and parts[:, 2].max() == 400 and parts[:, 3].max() == 300


@pytest.mark.parametrize(("size", "part"), [((300, 30), (130, 0, 170, 30)), ((30, 300), (0, 130, 30, 170))])
def test_a_long_picture_gives_its_middle(size: tuple[int, int], part: tuple[int, int, int, int]):
    """No part of the whole area has a ratio of 4 / 3."""
    assert random_part(np.random.default_rng(0), size, (1.0, 1.0)) == part


@pytest.mark.parametrize("size", [(90, 60), (1, 1), (500, 3)])
def test_samples_have_the_size_of_the_input_and_keep_their_label(size: tuple[int, int]):
    for pipeline in (RandomPart(32, Normalization()), MiddlePart(32, Normalization())):
        out = pipeline(sample_of(*size), np.random.default_rng(1))
        out.check()
        assert out.size == pipeline.output_size == (32, 32) and out.labels.tolist() == [2]
        assert out.boxes.tolist() == [[0, 0, 32, 32]]


def test_half_of_the_parts_are_flipped():
    pipeline, sample = RandomPart(32, Normalization()), sample_of(90, 60)
    images = [pipeline(sample, np.random.default_rng(seed)).image.astype(int) for seed in range(200)]
    flipped = [image[:, 0, 0].mean() > image[:, -1, 0].mean() for image in images]
    assert 70 < sum(flipped) < 130
    assert all(image[0, :, 1].mean() < image[-1, :, 1].mean() for image in images)  # never upside down


def test_the_middle_is_a_square_of_seven_eighths():
    out = MiddlePart(70, Normalization())(sample_of(160, 80), np.random.default_rng(0)).image
    assert out[35, :, 0].astype(float)[[0, -1]] == pytest.approx([255 * 45 / 159, 255 * 114 / 159], abs=2)
    assert out[:, 35, 1].astype(float)[[0, -1]] == pytest.approx([255 * 5 / 79, 255 * 74 / 79], abs=2)
