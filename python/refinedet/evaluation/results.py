"""Detections of whole images: in memory as ragged NumPy records, on disk as COCO results.

A COCO result file is a JSON list of `{"image_id", "category_id", "bbox": [x, y, w, h], "score"}`,
one entry per detection, boxes in pixels of the original image
(https://cocodataset.org/#format-results).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from .schema import ImageId, ResultsError, check_results, is_finite, read_json, shown

MAX_LABEL = 2**53
"""The largest integers that float64 tells apart."""


@dataclass(frozen=True)
class ImageDetections:
    """The detections of one image, in pixels of the original image, in any order.

    boxes: (N, 4) float64 (x1, y1, x2, y2); scores: (N,) float64; labels: (N,) int64 in 1..C.
    Raises ResultsError where a shape does not fit, a value is not finite, a box has x2 < x1 or
    y2 < y1, or a label is below 1.
    """

    image_id: ImageId
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        boxes = as_array(self.boxes, np.float64)
        scores = as_array(self.scores, np.float64)
        where = f"detections of image {self.image_id!r}"
        numbers = as_array(self.labels, np.float64)
        if (numbers != np.floor(numbers)).any() or (abs(numbers) > MAX_LABEL).any():
            raise ResultsError(f"{where}: labels: expected integers, got {shown(numbers.tolist())}")
        labels = numbers.astype(np.int64)
        if boxes.size == 0:
            boxes = boxes.reshape(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ResultsError(f"{where}: boxes: expected shape (N, 4), got {boxes.shape}")
        for name, array in (("scores", scores), ("labels", labels)):
            if array.shape != (len(boxes),):
                raise ResultsError(f"{where}: {name}: expected shape ({len(boxes)},), got {array.shape}")
        if not np.isfinite(scores).all():
            row = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise ResultsError(f"{where}: scores: expected finite values, row {row} is {scores[row]}")
        bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ResultsError(
                f"{where}: boxes: expected finite x1 <= x2, y1 <= y2, row {row} is {boxes[row].tolist()}"
            )
        if (labels < 1).any():
            row = int(np.flatnonzero(labels < 1)[0])
            raise ResultsError(f"{where}: labels: expected 1 or above, row {row} is {labels[row]}")
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.scores)


def as_array(value: Any, dtype: Any) -> np.ndarray:
    """A NumPy copy of an array, a list or a torch tensor of any dtype and device."""
    if hasattr(value, "detach"):  # torch: NumPy has no bfloat16, so floats go through float64
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    return np.array(value, dtype=dtype)


def no_detections(image_id: ImageId) -> ImageDetections:
    """The record of an image in which nothing was found."""
    return ImageDetections(image_id, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))


def from_padded(
    detections: Any,
    original_sizes: Sequence[tuple[int, int]],
    image_ids: Sequence[ImageId],
    *,
    clip: bool = True,
) -> list[ImageDetections]:
    """Padded detections of a batch, in fractions of the image, to one pixel record an image.

    detections: boxes (B, K, 4), scores (B, K), labels (B, K), count (B,), tensors or arrays; rows
    from `count` on are padding and are left out. original_sizes: B pairs (width, height) in pixels.
    clip: limits boxes to [0, width] x [0, height] before they are evaluated. (RefineDet's test code
    limits them to width - 1 and height - 1, which takes a pixel from objects at the border.) A box
    wholly outside becomes a box without area; it is kept, as a false positive.
    """
    boxes = as_array(detections.boxes, np.float64)
    scores = as_array(detections.scores, np.float64)
    labels = as_array(detections.labels, np.int64)
    count = as_array(detections.count, np.int64)
    if boxes.ndim != 3 or boxes.shape[2] != 4:
        raise ValueError(f"detections.boxes: expected shape (B, K, 4), got {boxes.shape}")
    images, width = boxes.shape[:2]
    for name, array in (("scores", scores), ("labels", labels)):
        if array.shape != (images, width):
            raise ValueError(f"detections.{name}: expected shape ({images}, {width}), got {array.shape}")
    if count.shape != (images,) or (count < 0).any() or (count > width).any():
        raise ValueError(
            f"detections.count: expected shape ({images},) with values in 0..{width}, got "
            f"shape {count.shape} with values {count.ravel().tolist()}"
        )
    for name, listed in (("original_sizes", original_sizes), ("image_ids", image_ids)):
        if len(listed) != images:
            raise ValueError(f"{name}: expected {images} entries, one per image, got {len(listed)}")
    records = []
    for b, image_id in enumerate(image_ids):
        n = int(count[b])
        scale = _scale(original_sizes[b], f"original_sizes[{b}]")
        pixels = boxes[b, :n] * scale
        if clip:
            pixels = np.clip(pixels, 0.0, scale)
        records.append(ImageDetections(image_id, pixels, scores[b, :n], labels[b, :n]))
    return records


def to_padded(
    records: Sequence[ImageDetections],
    original_sizes: Sequence[tuple[int, int]],
    *,
    max_detections: int | None = None,
) -> Any:
    """Pixel records to padded `Detections` of NumPy arrays, in fractions of the image.

    Each image's detections come best score first (ties in the order given); with max_detections
    only the best that many stay. K is the longest list, or max_detections. The inverse of
    `from_padded`.
    """
    from refinedet_ext.results import Detections  # only needed here; keeps the module light

    if len(original_sizes) != len(records):
        raise ValueError(f"original_sizes: expected {len(records)} entries, one per image, got {len(original_sizes)}")
    if max_detections is not None and max_detections < 0:
        raise ValueError(f"max_detections: expected 0 or above, got {max_detections}")
    longest = max((len(record) for record in records), default=0)
    width = longest if max_detections is None else max_detections
    boxes = np.zeros((len(records), width, 4), np.float64)
    scores = np.zeros((len(records), width), np.float64)
    labels = np.zeros((len(records), width), np.int64)
    count = np.zeros(len(records), np.int64)
    for b, record in enumerate(records):
        order = np.argsort(-record.scores, kind="stable")[:width]
        n = count[b] = len(order)
        boxes[b, :n] = record.boxes[order] / _scale(original_sizes[b], f"original_sizes[{b}]")
        scores[b, :n] = record.scores[order]
        labels[b, :n] = record.labels[order]
    return Detections(boxes, scores, labels, count)


def to_coco_results(
    records: Iterable[ImageDetections], category_ids: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Pixel records to COCO result entries, in the order given.

    category_ids: the category of label i is category_ids[i - 1]; None: the label is the category.
    """
    results = []
    for record in records:
        if category_ids is not None and (record.labels > len(category_ids)).any():
            raise ResultsError(
                f"detections of image {record.image_id!r}: labels: "
                f"expected 1..{len(category_ids)}, got {record.labels.max()}"
            )
        sizes = np.concatenate([record.boxes[:, :2], record.boxes[:, 2:] - record.boxes[:, :2]], 1)
        for bbox, score, label in zip(sizes.tolist(), record.scores.tolist(), record.labels.tolist(), strict=True):
            category = label if category_ids is None else int(category_ids[label - 1])
            results.append(
                {
                    "image_id": record.image_id,
                    "category_id": category,
                    "bbox": bbox,
                    "score": score,
                }
            )
    return results


def from_coco_results(
    results: Sequence[Mapping[str, Any]],
    category_ids: Sequence[int] | None = None,
    image_ids: Sequence[ImageId] | None = None,
) -> list[ImageDetections]:
    """COCO result entries to one pixel record per image, entries checked as by `check_results`.

    category_ids: the label of a category is its position in this list, from 1; None: the category is
    the label. image_ids: the images to return, in this order, also those without a detection;
    None: the images named by the entries, in order of first appearance.
    """
    check_results(results, image_ids=image_ids, category_ids=category_ids)
    label_of = None if category_ids is None else {c: i + 1 for i, c in enumerate(category_ids)}
    rows: dict[ImageId, list[int]] = {image_id: [] for image_id in image_ids or ()}
    for i, entry in enumerate(results):
        rows.setdefault(entry["image_id"], []).append(i)
    records = []
    for image_id, picked in rows.items():
        boxes = np.array([results[i]["bbox"] for i in picked], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        categories = [results[i]["category_id"] for i in picked]
        labels = categories if label_of is None else [label_of[c] for c in categories]
        scores = [results[i]["score"] for i in picked]
        records.append(ImageDetections(image_id, boxes, np.array(scores), np.array(labels)))
    return records


def write_results(path: str | Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Writes COCO result entries, checked first; folders are made. Numbers are written in full.

    NumPy numbers are turned into plain ones; further keys of an entry are written as they are.
    """
    check_results(results, source=str(path))
    plain = [
        {
            **entry,
            "image_id": _plain(entry["image_id"]),
            "category_id": int(entry["category_id"]),
            "bbox": [float(v) for v in entry["bbox"]],
            "score": float(entry["score"]),
        }
        for entry in results
    ]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain, allow_nan=False) + "\n", encoding="utf-8")


def read_results(
    path: str | Path,
    *,
    image_ids: Iterable[ImageId] | None = None,
    category_ids: Iterable[int] | None = None,
) -> list[dict[str, Any]]:
    """Reads a COCO result file and checks every entry; errors name the file and the entry."""
    results = read_json(path)
    check_results(results, source=str(path), image_ids=image_ids, category_ids=category_ids)
    return results


def _scale(size: tuple[int, int], where: str) -> np.ndarray:
    if len(size) != 2 or not all(is_finite(v) and v > 0 for v in size):
        raise ValueError(f"{where}: expected (width, height) above 0, got {tuple(size)}")
    return np.array([size[0], size[1], size[0], size[1]], np.float64)


def _plain(value: Any) -> ImageId:
    return int(value) if isinstance(value, Integral) else str(value)
