"""Annotations of images in memory: of one, and of a whole data set as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..structures import ImageId


@dataclass(frozen=True)
class ImageRecord:
    """The annotations of one image, without its pixels.

    boxes (N, 4) float64 in pixels; labels (N,) int64 in 1..C; difficult, crowd (N,) bool; areas
    (N,) float64: COCO's "area", which for COCO itself is that of the object's mask, otherwise that
    of the box. original_size is (width, height).
    """

    image_id: ImageId
    path: str
    original_size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True)
class AnnotationTable:
    """The annotations of all images, one array per column.

    One array per column and not one object per image: a forked loader worker touches the
    reference count of every object it looks at, which would copy the memory of a large data set.
    sizes (M, 2) int64: width, height; offsets (M + 1,): image m owns rows offsets[m] to
    offsets[m + 1] of the other arrays, which are as in ImageRecord.
    """

    image_ids: list[ImageId]
    paths: list[str]
    sizes: np.ndarray
    offsets: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray

    @staticmethod
    def from_records(records: Sequence[ImageRecord]) -> AnnotationTable:
        """The table of a list of records."""
        counts = [len(record.labels) for record in records]
        return AnnotationTable(
            image_ids=[record.image_id for record in records],
            paths=[record.path for record in records],
            sizes=np.array([r.original_size for r in records], np.int64).reshape(-1, 2),
            offsets=np.cumsum([0, *counts], dtype=np.int64),
            boxes=np.concatenate([np.zeros((0, 4)), *(r.boxes for r in records)]),
            labels=np.concatenate([np.zeros(0, np.int64), *(r.labels for r in records)]),
            difficult=np.concatenate([np.zeros(0, bool), *(r.difficult for r in records)]),
            crowd=np.concatenate([np.zeros(0, bool), *(r.crowd for r in records)]),
            areas=np.concatenate([np.zeros(0), *(r.areas for r in records)]),
        )

    def __len__(self) -> int:
        return len(self.image_ids)

    def select(self, images: Sequence[int], objects: np.ndarray | None = None) -> AnnotationTable:
        """The table of some of the images, in the given order. objects: (N,) bool, which of all objects to keep."""
        counts = np.diff(self.offsets)[list(images)]
        starts = self.offsets[list(images)]
        rows = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]])[: len(counts)], counts)
        rows = (rows + np.arange(counts.sum())).astype(np.int64)
        owner = np.repeat(np.arange(len(counts)), counts)
        if objects is not None:
            kept = objects[rows]
            rows, owner = rows[kept], owner[kept]
        counts = np.bincount(owner, minlength=len(counts))
        return AnnotationTable(
            image_ids=[self.image_ids[index] for index in images],
            paths=[self.paths[index] for index in images],
            sizes=self.sizes[list(images)],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            difficult=self.difficult[rows],
            crowd=self.crowd[rows],
            areas=self.areas[rows],
        )

    def record(self, index: int) -> ImageRecord:
        """The annotations of one image; the arrays are copies."""
        rows = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        width, height = self.sizes[index].tolist()
        return ImageRecord(
            image_id=self.image_ids[index],
            path=self.paths[index],
            original_size=(width, height),
            boxes=self.boxes[rows].copy(),
            labels=self.labels[rows].copy(),
            difficult=self.difficult[rows].copy(),
            crowd=self.crowd[rows].copy(),
            areas=self.areas[rows].copy(),
        )
