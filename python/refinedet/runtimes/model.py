"""A model file in a runtime: images in, detections out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from refinedet_ext.results import Detections

from ..checks import check_shape
from ..data.image_io import resize_image
from ..evaluation.results import ImageDetections, from_padded
from ..model_info import ModelInfo
from ..nms_config import NMSConfig
from .detection import detect
from .session import DETECTIONS, Session, describe


class RuntimeModel:
    """An exported model, ready to run. `open_model` makes it; `Predictor` and `refinedet.engine.evaluate` take it. ::

        model = open_model("model.onnx")
        detections = model.detect(images)             # (B, 3, H, W) uint8 in BGR order, of the model's input size
        records = model([photo, another])             # images of any size, boxes in their pixels

    Args:
        session: the network.
        info: what its file says about it.
        nms: another suppression than the file's.
        about: one line on the runtime, and why it was chosen.

    Raises:
        ValueError: for a suppression where the file makes its detections itself, and for an input that is not square.
    """

    def __init__(self, session: Session, info: ModelInfo, *, nms: NMSConfig | None = None, about: str = "") -> None:
        if nms is not None and info.outputs != "raw":
            raise ValueError("nms: expected None, as the suppression is inside the file")
        if info.input_size[0] != info.input_size[1]:
            raise ValueError(f"input_size: expected a square input, got (height, width) {info.input_size}")
        self.session, self.info = session, info
        self.nms = info.nms if nms is None else nms
        self.about = about or describe(session)

    @property
    def class_names(self) -> list[str]:
        """Of the labels 1, 2, ...."""
        return list(self.info.classes)

    @property
    def num_classes(self) -> int:
        """With background."""
        return self.info.num_classes

    def input_side(self, input_size: int | None = None) -> int:
        """Side of the square input in pixels; ValueError where another one is asked for."""
        side = self.info.input_size[0]
        if input_size not in (None, side):
            raise ValueError(f"input_size: the file has {side} and no other, got {input_size}")
        return side

    def detect(self, images: np.ndarray) -> Detections:
        """Detections in images (B, 3, H, W) uint8 in BGR order, of the model's input size; any B from 1 on.

        Arrays: boxes (B, K, 4) float32 as fractions of the input's width and height, scores (B, K) float32, labels
        (B, K) int64 from 1 on with 0 in the padding, count (B,) int64. TypeError or ValueError for other images,
        FloatingPointError where the network overflows.
        """
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            raise TypeError(f"images: expected an array of uint8, got {getattr(images, 'dtype', type(images))}")
        check_shape(images, "images", ("B", 3, *self.info.input_size))
        if not len(images):
            raise ValueError("images: expected at least one, got none")
        parts = []
        for batch, count in self._batches(images):
            outputs = self.session(batch if self.info.pixels == "uint8" else normalize(batch, self.info))
            if self.info.outputs == "raw":
                found = detect(outputs, self.info, self.nms)
            else:
                found = Detections(*(np.asarray(outputs[name]) for name in DETECTIONS))
            parts.append([field[:count] for field in found])
        return Detections(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))

    def __call__(self, images: Sequence[np.ndarray]) -> list[ImageDetections]:
        """A record for each image, (H, W, 3) uint8 in BGR order of any size, in its own pixels."""
        height, width = self.info.input_size
        batch = np.empty((len(images), 3, height, width), np.uint8)
        for planes, pixels in zip(batch, images, strict=True):
            cv2.split(resize_image(pixels, (width, height)), list(planes))
        sizes = [(pixels.shape[1], pixels.shape[0]) for pixels in images]
        return from_padded(self.detect(batch), sizes, list(range(len(images))))

    def _batches(self, images: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Images as many at a time as the file takes, the last ones filled up; and how many of them count."""
        size = self.info.batch or len(images)
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            count = len(batch)
            if count < size:
                batch = np.concatenate([batch, np.zeros((size - count, *batch.shape[1:]), np.uint8)])
            yield batch, count


def normalize(images: np.ndarray, info: ModelInfo) -> np.ndarray:
    """Pixels (B, 3, H, W) uint8 in BGR order as the network reads them, float32: `Normalization.apply` on arrays."""
    step = 1 if info.channel_order == "bgr" else -1
    mean, std = (np.array(v[::step], np.float32).reshape(3, 1, 1) for v in (info.pixel_mean, info.pixel_std))
    out = np.subtract(images[:, ::step], mean, dtype=np.float32)
    if (std != 1).any():
        out /= std
    return np.ascontiguousarray(out)
