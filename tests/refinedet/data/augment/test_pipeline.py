from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from refinedet.data.augment import pipeline as pipeline_module
from refinedet.data.augment.crop import CropOptions
from refinedet.data.augment.photometric import Distortion
from refinedet.data.augment.pipeline import EvalPipeline, TrainPipeline, drop_small
from refinedet.data.augment.resize import resize
from refinedet.data.seeding import sample_rng
from refinedet.structures import Normalization, Sample, collate

from ..makers import make_sample, noise

OFF = {
    "distort_probability": 0.0,
    "expand_probability": 0.0,
    "crop_probability": 0.0,
    "flip_probability": 0.0,
    "interpolations": ("linear",),
}


def painted() -> Sample:
    """A grey image with a bright rectangle, and its box; large enough to be seen after resizing."""
    image = np.full((240, 320, 3), 60, np.uint8)
    image[70:190, 90:250] = (40, 230, 250)
    return make_sample([(90, 70, 250, 190)], image=image)


def test_boxes_stay_on_their_pixels() -> None:
    # No colour change here, so that the rectangle can be found again by its colour.
    pipeline = TrainPipeline(160, distort_probability=0.0)
    seen = {"expanded": 0, "cropped": 0}
    for seed in range(200):
        out = pipeline(painted(), sample_rng(seed, 0, 0))
        out.check()
        assert out.size == (160, 160)
        bright = out.image[:, :, 1] > 170
        if not len(out.boxes):
            # The centre was cut off; what is left of the rectangle reaches the edge of the image.
            continue
        rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
        outline = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(out.boxes[0], outline, atol=2.0)
        fill = (out.image == (104, 117, 123)).all(axis=2)
        seen["expanded"] += bool(fill.mean() > 0.05)
        seen["cropped"] += bool(bright.mean() > 0.4)
    assert seen["expanded"] > 40 and seen["cropped"] > 20


def test_all_steps_off_is_a_plain_resize() -> None:
    sample = make_sample([(1, 2, 30, 40)])
    out = TrainPipeline(96, **OFF)(sample, sample_rng(0, 0, 0))
    want = resize(sample, (96, 96))
    np.testing.assert_array_equal(out.image, want.image)
    np.testing.assert_array_equal(out.boxes, want.boxes)


@pytest.mark.parametrize(
    "step",
    [
        {"distort_probability": 1.0},
        {"channel_swap_probability": 1.0},
        {"expand_probability": 1.0},
        {"crop_probability": 1.0},
        {"flip_probability": 1.0},
        {"interpolations": ("nearest",)},
    ],
)
def test_each_option_reaches_its_step(step: dict) -> None:
    sample = make_sample([(1, 2, 60, 40)], image=noise(64, 48))
    plain = TrainPipeline(96, **OFF)
    changed = replace(plain, **step)
    outs = [changed(sample, sample_rng(0, 0, i)).image for i in range(8)]
    assert any(not np.array_equal(out, plain(sample, sample_rng(0, 0, 0)).image) for out in outs)


def test_steps_come_in_order_with_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, tuple, dict]] = []
    for name in ("distort", "random_expand", "random_crop", "random_resize", "random_flip"):

        def step(sample: Sample, rng: object, *args: object, name: str = name, **options: object) -> Sample:
            calls.append((name, args, options))
            return sample

        monkeypatch.setattr(pipeline_module, name, step)
    pipeline = TrainPipeline(
        (96, 64),
        mean=(1.0, 2.0, 3.0),
        distort_probability=0.11,
        brightness=12.0,
        contrast=(0.13, 1.3),
        saturation=(0.14, 1.4),
        hue=15.0,
        channel_swap_probability=0.16,
        expand_probability=0.21,
        max_expand=2.2,
        expand_shape=(0.6, 1.6),
        crop_objects="all",
        crop_probability=0.31,
        min_ious=(0.32, None),
        crop_trials=33,
        crop_scale=(0.34, 0.4),
        crop_ratio=(0.35, 3.5),
        interpolations=("cubic", "area"),
        flip_probability=0.51,
    )
    pipeline(make_sample(), sample_rng(0, 0, 0))
    assert calls == [
        ("distort", (Distortion(0.11, 12.0, (0.13, 1.3), (0.14, 1.4), 15.0, 0.16),), {}),
        ("random_expand", (), {"probability": 0.21, "max_ratio": 2.2, "shape": (0.6, 1.6), "fill": (1.0, 2.0, 3.0)}),
        (
            "random_crop",
            (),
            {"probability": 0.31, "options": CropOptions((0.32, None), 33, (0.34, 0.4), (0.35, 3.5), "all")},
        ),
        ("random_resize", ((96, 64), ("cubic", "area")), {}),
        ("random_flip", (), {"probability": 0.51}),
    ]


def test_steps_come_in_the_order_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("distort", "random_expand", "random_crop", "random_resize", "random_flip"):

        def step(sample: Sample, rng: object, *args: object, name: str = name, **options: object) -> Sample:
            calls.append(name.removeprefix("random_"))
            return sample

        monkeypatch.setattr(pipeline_module, name, step)
    steps = ("crop", "distort", "expand", "flip", "resize")
    TrainPipeline(64, steps=steps)(make_sample(), sample_rng(0, 0, 0))
    assert calls == list(steps)


def test_a_picture_that_loses_its_objects_is_only_resized_on_request() -> None:
    sample = make_sample([(0, 0, 2, 2)], image=noise(64, 48))
    options = {**OFF, "flip_probability": 1.0, "min_object": 20.0}
    assert not len(TrainPipeline(96, **options)(sample, sample_rng(0, 0, 0)).boxes)
    out = TrainPipeline(96, keep_objects=True, **options)(sample, sample_rng(0, 0, 0))
    np.testing.assert_array_equal(out.image, resize(sample, (96, 96)).image)
    assert out.boxes.tolist() == [[0, 0, 3, 4]]
    empty = TrainPipeline(96, keep_objects=True, **options)(make_sample(image=noise(64, 48)), sample_rng(0, 0, 0))
    np.testing.assert_array_equal(empty.image, resize(make_sample(image=noise(64, 48)), (96, 96)).image[:, ::-1])


def test_defaults_are_the_original_ones() -> None:
    """Every number of SSD's augmentation as the original RefineDet code trains with."""
    defaults = {field.name: field.default for field in fields(TrainPipeline) if field.name != "size"}
    assert defaults == {
        "mean": (104.0, 117.0, 123.0),
        "std": (1.0, 1.0, 1.0),
        "order": "bgr",
        "distort_probability": 0.5,
        "brightness": 32.0,
        "contrast": (0.5, 1.5),
        "saturation": (0.5, 1.5),
        "hue": 18.0,
        "channel_swap_probability": 0.0,
        "expand_probability": 0.5,
        "max_expand": 4.0,
        "crop_probability": 1.0,
        "min_ious": (0.1, 0.3, 0.5, 0.7, 0.9, None),
        "crop_trials": 50,
        "crop_scale": (0.3, 1.0),
        "crop_ratio": (0.5, 2.0),
        "interpolations": ("linear", "area", "nearest", "cubic", "lanczos4"),
        "flip_probability": 0.5,
        "min_object": 0.0,
        "steps": ("distort", "expand", "crop", "resize", "flip"),
        "crop_objects": "any",
        "expand_shape": (1.0, 1.0),
        "keep_objects": False,
    }
    # The steps by themselves have the same defaults as the whole.
    pipeline = TrainPipeline(64)
    assert pipeline._distortion() == Distortion() and pipeline._crop_options() == CropOptions()


def test_expand_fills_with_the_mean_option() -> None:
    sample = make_sample(image=np.zeros((48, 64, 3), np.uint8))
    pipeline = replace(
        TrainPipeline(96, mean=(10.0, 20.0, 30.0), **OFF), expand_probability=1.0, interpolations=("nearest",)
    )
    out = pipeline(sample, sample_rng(0, 0, 0))
    colours = {tuple(pixel) for pixel in out.image.reshape(-1, 3).tolist()}
    assert colours == {(0, 0, 0), (10, 20, 30)}
    assert collate([out], normalization=pipeline.normalization).images.flatten().unique().tolist() == [-30, -20, -10, 0]


def test_the_sample_given_stays_as_it_was() -> None:
    sample = make_sample([(1, 2, 30, 40)])
    for array in (sample.image, sample.boxes, sample.labels, sample.difficult, sample.crowd):
        array.setflags(write=False)
    before = sample.image.copy()
    for i in range(50):
        TrainPipeline(64)(sample, sample_rng(1, 1, i))
    np.testing.assert_array_equal(sample.image, before)


def test_same_numbers_same_sample() -> None:
    sample = make_sample([(1, 2, 30, 40)])
    pipeline = TrainPipeline(64)
    first, again = (pipeline(sample, sample_rng(5, 2, 7)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (700, 5)])
def test_odd_pictures(size: tuple[int, int]) -> None:
    sample = make_sample([(0, 0, *size)], size=size)
    for i in range(40):
        out = TrainPipeline(64)(sample, sample_rng(0, 0, i))
        out.check()
        assert out.size == (64, 64)
    assert EvalPipeline(64)(make_sample(size=size)).size == (64, 64)


def test_min_object_drops_small_ones_only_on_request() -> None:
    sample = make_sample([(0, 0, 2, 40), (0, 0, 40, 2), (0, 0, 8, 8)], size=(64, 64))
    assert drop_small(sample, 8.0).labels.tolist() == [3]
    assert len(TrainPipeline(64, **OFF)(sample, sample_rng(0, 0, 0)).boxes) == 3
    # 8 pixels of an image of 64 are 4 of an input of 32.
    small = TrainPipeline(32, min_object=4.5, **OFF)
    assert len(small(sample, sample_rng(0, 0, 0)).boxes) == 0


def test_eval_pipeline_resizes_linearly_and_nothing_else() -> None:
    sample = make_sample([(1, 2, 30, 40)])
    pipeline = EvalPipeline((96, 32), order="rgb", mean=(1, 2, 3), std=(4, 5, 6))
    out = pipeline(sample)
    np.testing.assert_array_equal(out.image, resize(sample, (96, 32), "linear").image)
    assert pipeline.output_size == (96, 32)
    assert pipeline.normalization == Normalization((1, 2, 3), (4, 5, 6), "rgb")
    assert EvalPipeline(320).output_size == (320, 320)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size: expected a positive side"),
        ({"size": (320, 0)}, "size: expected a positive side"),
        ({"size": (1, 2, 3)}, "size: expected a positive side"),
        ({"size": 64.0}, "size: expected a positive side"),
        ({"flip_probability": 1.5}, "flip_probability: expected a number from 0 to 1, got 1.5"),
        ({"expand_probability": float("nan")}, "expand_probability: expected a number from 0 to 1, got nan"),
        ({"hue": -1}, "hue: expected a number from 0 to inf, got -1"),
        ({"min_object": -1}, "min_object: expected a number from 0"),
        ({"contrast": (1.5, 0.5)}, "contrast: expected 0 < low <= high"),
        ({"crop_scale": (0.3, 1.2)}, "crop_scale: expected 1 at most"),
        ({"max_expand": 0.5}, "max_expand: expected a number from 1 to inf, got 0.5"),
        ({"crop_trials": 0}, "crop_trials: expected an integer of at least 1, got 0"),
        ({"interpolations": ()}, "interpolations: expected some of"),
        ({"interpolations": ("bilinear",)}, r"interpolations: expected some of .* got \['bilinear'\]"),
        ({"std": (1, 1, 0)}, "std: expected positive numbers"),
        ({"steps": ("crop", "flip")}, r"steps: expected \['distort', .*\] in some order, got \['crop', 'flip'\]"),
        ({"crop_objects": "most"}, r"crop_objects: expected one of \['any', 'all'\], got 'most'"),
        ({"expand_shape": (1.5, 2.0)}, "expand_shape: expected low <= 1 <= high"),
        ({"expand_shape": (0.0, 2.0)}, "expand_shape: expected 0 < low <= high"),
    ],
)
def test_refuses_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainPipeline(**{"size": 64, **options})


def test_eval_refuses_options() -> None:
    with pytest.raises(ValueError, match="size: expected a positive side"):
        EvalPipeline(-1)
    with pytest.raises(ValueError, match="interpolation: expected one of"):
        EvalPipeline(64, interpolation="best")
