from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from refinedet.structures import Batch, Normalization, Sample, collate, to_tensor

from .data.makers import make_sample, noise


def test_to_tensor_is_bgr_minus_mean_for_any_size() -> None:
    for width, height in [(1, 1), (7, 3), (320, 192)]:
        image = noise(width, height)
        want = image.transpose(2, 0, 1).astype(np.float32) - np.array([104, 117, 123])[:, None, None]
        got = to_tensor(image, Normalization())
        assert got.dtype == torch.float32 and got.is_contiguous()
        np.testing.assert_array_equal(got.numpy(), want)


def test_to_tensor_takes_views_and_leaves_them_alone() -> None:
    image = noise(20, 10)
    view = image[2:8, ::-1]
    view.setflags(write=False)
    before = view.copy()
    for normalization in (None, Normalization()):
        got = to_tensor(view, normalization)
        np.testing.assert_array_equal(got.numpy(), to_tensor(before, normalization).numpy())
    np.testing.assert_array_equal(view, before)


def test_normalization_divides_and_reorders() -> None:
    image = np.array([[[10, 20, 30]]], np.uint8)
    rgb = Normalization(mean=(1, 2, 3), std=(3, 6, 9), order="rgb")
    assert to_tensor(image, rgb).flatten().tolist() == [3.0, 3.0, 3.0]
    rgb = Normalization(mean=(0, 0, 0), std=(1, 2, 1), order="rgb")
    assert to_tensor(image, rgb).flatten().tolist() == [30.0, 10.0, 10.0]


def test_to_tensor_leaves_pixels_as_they_are() -> None:
    image = noise(7, 3)
    got = to_tensor(image)
    assert got.dtype == torch.uint8 and got.is_contiguous()
    np.testing.assert_array_equal(got.numpy(), image.transpose(2, 0, 1))


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_normalization_gives_the_nearest_floats_in_any_layout(
    order: Literal["bgr", "rgb"], layout: torch.memory_format
) -> None:
    normalization = Normalization((103.53, 116.28, 123.675), (57.375, 57.12, 58.395), order)
    images = torch.from_numpy(np.stack([noise(16, 16), noise(16, 16, seed=1)]).transpose(0, 3, 1, 2).copy())
    before = images.clone()
    got = normalization.apply(images.contiguous(memory_format=layout))
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (normalization.mean, normalization.std))
    want = (images.numpy().astype(np.float32) - mean) / std
    np.testing.assert_array_equal(got.numpy(), want if order == "bgr" else want[:, ::-1])
    assert got.dtype == torch.float32 and got.is_contiguous(memory_format=layout)
    assert torch.equal(images, before)


def test_normalization_applies_to_uint8_alone() -> None:
    with pytest.raises(TypeError, match=r"images: expected uint8, got torch.float32"):
        Normalization().apply(torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match=r"images: expected shape \(B, 3, H, W\), got \(3, 4, 4\)"):
        Normalization().apply(torch.zeros(3, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": (1, 2)}, "mean: expected 3 finite numbers"),
        ({"mean": (1, 2, float("nan"))}, "mean: expected 3 finite numbers"),
        ({"std": (1, 0, 1)}, "std: expected positive numbers"),
        ({"order": "gbr"}, "order: expected 'bgr' or 'rgb', got 'gbr'"),
    ],
)
def test_normalization_refuses(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Normalization(**arguments)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4), np.uint8), ValueError, r"image: expected shape \(H, W, 3\), got \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, r"expected shape \(H, W, 3\)"),
        (np.zeros((4, 4, 3), np.float32), TypeError, "image: expected dtype uint8, got float32"),
        ([[1]], TypeError, "image: expected a NumPy array, got list"),
    ],
)
def test_to_tensor_refuses(image: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        to_tensor(image)  # type: ignore[arg-type]


def test_collate_ragged() -> None:
    first = make_sample([(0, 0, 32, 24), (16, 12, 64, 48)], crowd=[False, True], image_id=5)
    empty = make_sample(image_id="none")
    last = make_sample([(8, 12, 16, 36)], image_id="last")
    last.original_size = (640, 480)
    batch = collate([first, empty, last])
    assert len(batch) == 3
    assert batch.images.shape == (3, 3, 48, 64)
    np.testing.assert_array_equal(batch.images[1], to_tensor(empty.image))
    floats = collate([first, empty, last], normalization=Normalization()).images
    np.testing.assert_array_equal(floats[1], to_tensor(empty.image, Normalization()))
    assert batch.gt_boxes.tolist() == [
        [0.0, 0.0, 0.5, 0.5],
        [0.25, 0.25, 1.0, 1.0],
        [0.125, 0.25, 0.25, 0.75],
    ]
    assert batch.gt_labels.tolist() == [1, 2, 1]
    assert batch.gt_offsets.tolist() == [0, 2, 2, 3]
    assert batch.gt_ignore.tolist() == [False, True, False]
    assert batch.image_ids == [5, "none", "last"]
    assert batch.paths == ["5.jpg", "none.jpg", "last.jpg"]
    assert batch.original_sizes == [(64, 48), (64, 48), (640, 480)]
    dtypes = [t.dtype for t in (batch.images, batch.gt_boxes, batch.gt_labels, batch.gt_offsets, batch.gt_ignore)]
    assert dtypes == [torch.uint8, torch.float32, torch.int64, torch.int64, torch.bool]
    boxes, labels = batch.ground_truth(2)
    assert boxes.tolist() == [[0.125, 0.25, 0.25, 0.75]] and labels.tolist() == [1]
    assert len(batch.ground_truth(1)[1]) == 0
    with pytest.raises(IndexError, match="expected 0 to 2, got 3"):
        batch.ground_truth(3)


def test_collate_without_pictures_or_objects() -> None:
    nothing = collate([])
    assert len(nothing) == 0
    assert nothing.images.shape == (0, 3, 0, 0)
    assert collate([], size=(64, 48)).images.shape == (0, 3, 48, 64)
    assert nothing.gt_boxes.shape == (0, 4) and nothing.gt_offsets.tolist() == [0]
    no_objects = collate([make_sample(), make_sample(image_id="b")])
    assert no_objects.gt_boxes.shape == (0, 4) and no_objects.gt_boxes.dtype == torch.float32
    assert no_objects.gt_labels.dtype == torch.int64
    assert no_objects.gt_offsets.tolist() == [0, 0, 0]


def test_collate_names_the_picture_of_another_size() -> None:
    odd = make_sample(size=(32, 48), image_id="odd")
    with pytest.raises(ValueError, match="sample 'odd': image: expected width x height 64 x 48 .* got 32 x 48"):
        collate([make_sample(), odd])
    with pytest.raises(ValueError, match="sample 'a': image: expected width x height 32 x 32"):
        collate([make_sample()], size=(32, 32))


def broken(**changes: object) -> Sample:
    return replace(make_sample([(0, 0, 9, 9)]), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        (broken(boxes=np.zeros((1, 5), np.float32)), ValueError, r"sample 'a': boxes: .*\(N, 4\), got \(1, 5\)"),
        (broken(boxes=np.zeros((1, 4))), TypeError, "boxes: expected dtype float32, got float64"),
        (broken(boxes=np.full((1, 4), np.nan, np.float32)), ValueError, "boxes: expected finite"),
        (broken(labels=np.zeros(1, np.int64)), ValueError, "labels: expected 1 or more, got 0"),
        (broken(labels=np.ones(2, np.int64)), ValueError, r"labels: expected shape \(1,\), got \(2,\)"),
        (broken(labels=np.ones(1, np.int32)), TypeError, "labels: expected dtype int64"),
        (broken(difficult=np.zeros(0, bool)), ValueError, r"difficult: expected shape \(1,\)"),
        (broken(crowd=[False]), TypeError, "crowd: expected a NumPy array, got list"),
        (broken(image=np.zeros((0, 4, 3), np.uint8)), ValueError, "image: expected at least one pixel"),
    ],
)
def test_collate_refuses_malformed_samples(sample: Sample, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        collate([make_sample(), sample])


def test_batch_to_and_checks() -> None:
    batch = collate([make_sample([(0, 0, 9, 9)])])
    moved = batch.to("meta")
    for name in ("images", "gt_boxes", "gt_labels", "gt_offsets", "gt_ignore"):
        assert getattr(moved, name).device.type == "meta", name
        assert getattr(batch, name).device.type == "cpu", name
    assert moved.image_ids == batch.image_ids
    with pytest.raises(ValueError, match=r"gt_offsets: expected shape \(2,\), got \(3,\)"):
        replace(batch, gt_offsets=torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="paths: expected 1 entries, got 0"):
        replace(batch, paths=[])
    with pytest.raises(ValueError, match=r"images: expected shape \(B, 3, H, W\)"):
        Batch(**{**vars(batch), "images": torch.zeros(1, 4, 8, 8)})
