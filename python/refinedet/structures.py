"""What flows from the data sets to a detector: Sample, Batch, and the step between the two."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
import torch

from .checks import check_shape

ImageId = int | str

# Mean colour of the VGG-16 weights of the original RefineDet code, in BGR order, pixels 0..255.
CAFFE_MEAN = (104.0, 117.0, 123.0)


class Unreadable(NamedTuple):
    """An image whose file could not be read, and why; the reason names the file."""

    image_id: ImageId
    reason: str


@dataclass
class Sample:
    """One image and its objects on the way through the data pipeline.

    Attributes:
        image: (H, W, 3) uint8 in BGR order.
        boxes: (N, 4) float32, (x1, y1, x2, y2) in pixels of image.
        labels: (N,) int64 in 1..C.
        difficult: (N,) bool, VOC's flag.
        crowd: (N,) bool, COCO's iscrowd.
        image_id: as the data set numbers or names it.
        path: the image's file.
        original_size: (width, height) of the image in the file, whatever became of image since.
        unreadable: images that could not be read, in whose place this one stands; itself, if it is blank for that
            reason.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    image_id: ImageId
    path: str
    original_size: tuple[int, int]
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of image as it is now."""
        return self.image.shape[1], self.image.shape[0]

    def select(self, keep: np.ndarray) -> Sample:
        """The same image with some of its objects.

        Args:
            keep: (N,) bool, or indices.
        """
        return replace(
            self,
            boxes=self.boxes[keep],
            labels=self.labels[keep],
            difficult=self.difficult[keep],
            crowd=self.crowd[keep],
        )

    def check(self) -> None:
        """Look at every field.

        Raises:
            TypeError, ValueError: naming image and field, where a field is malformed.
        """
        where = f"sample {self.image_id!r}"
        _check_array(self.image, f"{where}: image", np.uint8, ("H", "W", 3))
        if self.image.size == 0:
            raise ValueError(f"{where}: image: expected at least one pixel, got {self.image.shape}")
        _check_array(self.boxes, f"{where}: boxes", np.float32, ("N", 4))
        count = len(self.boxes)
        _check_array(self.labels, f"{where}: labels", np.int64, (count,))
        _check_array(self.difficult, f"{where}: difficult", np.bool_, (count,))
        _check_array(self.crowd, f"{where}: crowd", np.bool_, (count,))
        if not np.isfinite(self.boxes).all():
            raise ValueError(f"{where}: boxes: expected finite numbers, got {self.boxes.tolist()}")
        if count and self.labels.min() < 1:
            raise ValueError(f"{where}: labels: expected 1 or more, got {self.labels.min()}")


@dataclass
class Batch:
    """What a detector trains and evaluates on: B images of one size, G objects over all of them.

    Attributes:
        images: (B, 3, H, W) uint8, BGR, which a detector normalizes on its device; or float32, pixels as
            `Normalization` says.
        gt_boxes: (G, 4) float32, (x1, y1, x2, y2) as fractions of the image's width and height.
        gt_labels: (G,) int64 in 1..C.
        gt_offsets: (B + 1,) int64; image b owns rows gt_offsets[b] to gt_offsets[b + 1].
        gt_ignore: (G,) bool, crowd boxes, which are no objects to learn.
        image_ids, paths: B entries.
        original_sizes: (width, height) of every image in its file, B entries.
        unreadable: those of the samples.
    """

    images: torch.Tensor
    gt_boxes: torch.Tensor
    gt_labels: torch.Tensor
    gt_offsets: torch.Tensor
    gt_ignore: torch.Tensor
    image_ids: list[ImageId]
    paths: list[str]
    original_sizes: list[tuple[int, int]]
    unreadable: list[Unreadable] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.images)
        check_shape(self.images, "images", ("B", 3, "H", "W"))
        check_shape(self.gt_boxes, "gt_boxes", ("G", 4))
        check_shape(self.gt_labels, "gt_labels", (len(self.gt_boxes),))
        check_shape(self.gt_offsets, "gt_offsets", (count + 1,))
        check_shape(self.gt_ignore, "gt_ignore", (len(self.gt_boxes),))
        for name in ("image_ids", "paths", "original_sizes"):
            if len(getattr(self, name)) != count:
                raise ValueError(f"{name}: expected {count} entries, got {len(getattr(self, name))}")

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on a device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch with its tensors in page-locked memory; a DataLoader calls this."""
        return self._map(torch.Tensor.pin_memory)

    def ground_truth(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The objects of one image. Reads gt_offsets: waits for a GPU.

        Returns:
            Boxes (N, 4) and labels (N,).
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index: expected 0 to {len(self) - 1}, got {index}")
        begin, end = self.gt_offsets[index : index + 2].tolist()
        return self.gt_boxes[begin:end], self.gt_labels[begin:end]

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        return replace(
            self,
            images=function(self.images),
            gt_boxes=function(self.gt_boxes),
            gt_labels=function(self.gt_labels),
            gt_offsets=function(self.gt_offsets),
            gt_ignore=function(self.gt_ignore),
        )


@dataclass(frozen=True)
class Normalization:
    """How 8-bit pixels become the numbers a network reads: (pixel - mean) / std, then reordered.

    The default is the original code's: BGR minus its mean.

    Args:
        mean, std: one number per channel, always in BGR order, in units of 0..255 pixels.
        order: of the channels that the network reads.
    """

    mean: tuple[float, float, float] = CAFFE_MEAN
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    order: Literal["bgr", "rgb"] = "bgr"

    def __post_init__(self) -> None:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != 3 or not np.isfinite(values).all():
                raise ValueError(f"{name}: expected 3 finite numbers, got {tuple(values)}")
        if min(self.std) <= 0:
            raise ValueError(f"std: expected positive numbers, got {tuple(self.std)}")
        if self.order not in ("bgr", "rgb"):
            raise ValueError(f"order: expected 'bgr' or 'rgb', got {self.order!r}")

    def apply(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels (B, 3, H, W) uint8 in BGR order as float32, on their device and in their memory format.

        Raises TypeError or ValueError for anything else.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"images: expected uint8, got {images.dtype}")
        check_shape(images, "images", ("B", 3, "H", "W"))
        if torch.compiler.is_compiling():  # constants of the graph
            mean, std = self._constants(images.device)
        else:
            mean, std = _cached_constants(self, images.device)
        if self.order == "rgb":
            images = images.flip(1)
        out = images - mean
        return out if std is None else out.div_(std)

    def _constants(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
        """mean and std (3, 1, 1) float32 in the network's order; no std where it is 1."""
        step = 1 if self.order == "bgr" else -1
        mean, std = (torch.tensor(v[::step], dtype=torch.float32).view(3, 1, 1) for v in (self.mean, self.std))
        return mean.to(device), None if all(s == 1 for s in self.std) else std.to(device)


@functools.lru_cache(maxsize=64)
def _cached_constants(normalization: Normalization, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    # A copy to a GPU at every step could not be captured in a CUDA graph. Made in inference mode, the
    # constants would be of no use outside it.
    with torch.inference_mode(False):
        return normalization._constants(device)


def to_tensor(image: np.ndarray, normalization: Normalization | None = None) -> torch.Tensor:
    """An image (H, W, 3) uint8 BGR of any size as a (3, H, W) tensor.

    normalization: None leaves the pixels as they are, uint8 in BGR order, as detectors take them; otherwise the
    result is float32. The image may be a view, flipped or read-only, and is not changed. Raises TypeError or
    ValueError for any other array.
    """
    _check_array(image, "image", np.uint8, ("H", "W", 3))
    pixels = torch.empty((3, *image.shape[:2]), dtype=torch.uint8)
    _planes_into(pixels.numpy(), image)
    return pixels if normalization is None else normalization.apply(pixels[None])[0]


def collate(
    samples: Sequence[Sample],
    *,
    normalization: Normalization | None = None,
    size: tuple[int, int] | None = None,
) -> Batch:
    """Samples, resized to one size, as a Batch.

    normalization: None leaves the pixels as they are, uint8 in BGR order: a quarter of the bytes to pass between
    processes and to a GPU. A detector normalizes them itself, to the same numbers as are given here otherwise.
    size: the (width, height) that all images must have; None: that of the first. A batch without
    images has the shape (0, 3, height, width), where size is None (0, 3, 0, 0). Raises ValueError
    or TypeError, naming the image, where a sample is malformed or of another size.
    """
    for sample in samples:
        sample.check()
    width, height = size or (samples[0].size if samples else (0, 0))
    for sample in samples:
        if sample.size != (width, height):
            raise ValueError(
                f"sample {sample.image_id!r}: image: expected width x height {width} x {height} "
                f"as the rest of the batch, got {sample.size[0]} x {sample.size[1]}"
            )
    images = torch.empty((len(samples), 3, height, width), dtype=torch.uint8)
    for row, sample in zip(images.numpy(), samples, strict=True):
        _planes_into(row, sample.image)
    if normalization is not None:
        images = normalization.apply(images)

    counts = [len(sample.boxes) for sample in samples]
    scale = np.array([width, height, width, height], np.float32)
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(s.boxes / scale for s in samples)])
    labels = np.concatenate([np.zeros(0, np.int64), *(s.labels for s in samples)])
    crowd = np.concatenate([np.zeros(0, np.bool_), *(s.crowd for s in samples)])
    return Batch(
        images=images,
        gt_boxes=torch.from_numpy(boxes),
        gt_labels=torch.from_numpy(labels),
        gt_offsets=torch.from_numpy(np.cumsum([0, *counts], dtype=np.int64)),
        gt_ignore=torch.from_numpy(crowd),
        image_ids=[sample.image_id for sample in samples],
        paths=[sample.path for sample in samples],
        original_sizes=[sample.original_size for sample in samples],
        unreadable=[lost for sample in samples for lost in sample.unreadable],
    )


def _planes_into(out: np.ndarray, image: np.ndarray) -> None:
    """Writes image (H, W, 3) uint8 into out (3, H, W) uint8."""
    import cv2  # who builds a model and has no image files gets by without it

    # By OpenCV, which is several times faster than copying a transposed view.
    if image.size:
        cv2.split(np.ascontiguousarray(image), list(out))


def _check_array(value: object, name: str, dtype: type, shape: tuple[int | str, ...]) -> None:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name}: expected a NumPy array, got {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{name}: expected dtype {np.dtype(dtype)}, got {value.dtype}")
    check_shape(value, name, shape)
