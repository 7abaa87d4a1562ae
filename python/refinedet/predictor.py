"""From images of any kind and size to boxes in their pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch

from .checks import check_choice, check_integer, check_range
from .data.checks import Orientation
from .data.image_io import read_image, resize_image, to_8_bits
from .evaluation.results import ImageDetections, from_padded
from .inference import MultiScale, multi_scale_detections
from .optimize import CHOICES, optimize_for_inference
from .structures import to_tensor
from .weights import check_names, load_model

if TYPE_CHECKING:
    from PIL.Image import Image

    from .detectors import Detector


OPTIMIZE = ("off", *CHOICES)


@dataclass(frozen=True)
class Prediction:
    """What was found in one image, the best score first.

    boxes: (N, 4) float32, (x1, y1, x2, y2) in pixels of the image, inside it. scores: (N,) float32.
    labels: (N,) int64, from 1. names: N class names. size: (width, height) of the image. path: its file, or None.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: list[str]
    size: tuple[int, int]
    path: str | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers for JSON."""
        return {
            "path": self.path,
            "width": self.size[0],
            "height": self.size[1],
            "detections": [
                {"box": box.tolist(), "score": float(score), "label": int(label), "name": name}
                for box, score, label, name in zip(self.boxes, self.scores, self.labels, self.names, strict=True)
            ],
        }


class Predictor:
    """Runs a detector on files, arrays and PIL images.

        predictor = Predictor.from_file("model.safetensors")
        for prediction in predictor(["a.jpg", "b.png"], score_threshold=0.5): ...

    model: a detector; it is put into eval mode. class_names: of the labels 1, 2, ...; None names them "class 1" and
    so on. device: where to run, None leaves the model where it is. batch_size: images in one pass of the network.
    input_size: side in pixels to which images are resized, None is the model's own.
    orientation: "auto" turns photographs as their EXIF tag says, as viewers and cv2.imread do, and boxes are in pixels
        of the image so turned; "stored" takes the pixels as they are stored.
    multi_scale: a recipe of `refinedet.inference`, or its name, in place of one size.
    optimize: "auto", "float32" or "bfloat16" runs a copy that `optimize_for_inference` makes with this dtype, on the
        CPU; "off" runs the model as it is. The report is `predictor.model.report`.
    """

    def __init__(
        self,
        model: Detector,
        class_names: Sequence[str] | None = None,
        *,
        device: torch.device | str | None = None,
        batch_size: int = 8,
        input_size: int | None = None,
        multi_scale: MultiScale | str | None = None,
        orientation: Orientation = "auto",
        optimize: str = "off",
    ) -> None:
        check_integer(batch_size, "batch_size", 1)
        if class_names is None:
            class_names = [f"class {label}" for label in range(1, model.num_classes)]
        self.class_names = check_names(class_names, model.num_classes)
        size = model.input_side(input_size)
        self.model = model.eval() if device is None else model.to(device).eval()
        check_choice(orientation, "orientation", ("auto", "stored"))
        self.orientation: Orientation = orientation
        check_choice(optimize, "optimize", OPTIMIZE)
        if optimize != "off":
            self.model = optimize_for_inference(self.model, dtype=optimize, input_size=size)
        self.device = next(model.parameters()).device
        self.batch_size = batch_size
        self.input_size = size
        if input_size is not None and multi_scale is not None:
            raise ValueError("input_size: expected None where multi_scale says the sizes")
        self.multi_scale = multi_scale

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 8,
        input_size: int | None = None,
        multi_scale: MultiScale | str | None = None,
        orientation: Orientation = "auto",
        optimize: str = "off",
        **options: Any,
    ) -> Predictor:
        """A predictor for a file that `save_model` wrote; options as `load_model`."""
        checkpoint = load_model(path, device=device, **options)
        return cls(
            checkpoint.model,
            checkpoint.class_names,
            batch_size=batch_size,
            input_size=input_size,
            multi_scale=multi_scale,
            orientation=orientation,
            optimize=optimize,
        )

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is an iterable of str, too
        self, images: str | os.PathLike[str] | np.ndarray | Image, *, score_threshold: float = 0.0
    ) -> Prediction: ...

    @overload
    def __call__(
        self,
        images: Iterable[str | os.PathLike[str] | np.ndarray | Image],
        *,
        score_threshold: float = 0.0,
    ) -> list[Prediction]: ...

    def __call__(self, images: Any, *, score_threshold: float = 0.0) -> Any:
        """Detect in one image (returns a `Prediction`) or in several (a list of them, in their order).

        An image is a path, a NumPy array, uint8 of shape (H, W, 3) in BGR order, (H, W) or (H, W, 1) in grey or
        (H, W, 4) in BGRA, or a PIL image of any mode. Alpha is ignored. Files and PIL images are turned as
        their EXIF orientation says, see `orientation` above.
        score_threshold: leave out detections with lower scores.

        FileNotFoundError for a missing file, ValueError for an unreadable one or a wrong shape, TypeError for
        anything else, naming the image.
        """
        check_range(score_threshold, "score_threshold", 0, 1)
        if _is_image(images):
            return self._run([images], score_threshold)[0]
        if not isinstance(images, Iterable):
            raise TypeError(f"images: expected an image or several, got {type(images).__name__}")
        results: list[Prediction] = []
        chunk: list[Any] = []
        for image in images:  # never more than one batch of images in memory
            chunk.append(image)
            if len(chunk) == self.batch_size:
                results += self._run(chunk, score_threshold)
                chunk = []
        return results + self._run(chunk, score_threshold)

    def _run(self, images: Sequence[Any], score_threshold: float) -> list[Prediction]:
        if not images:
            return []
        paths = [str(i) if isinstance(i, (str, os.PathLike)) else None for i in images]
        loaded = [load_image(image, self.orientation) for image in images]
        sizes = [(pixels.shape[1], pixels.shape[0]) for pixels in loaded]
        if self.multi_scale is None:
            records = self._detect(loaded, sizes)
        else:
            records = [multi_scale_detections(self.model, pixels, self.multi_scale) for pixels in loaded]
        results = []
        for record, size, path in zip(records, sizes, paths, strict=True):
            keep = record.scores >= score_threshold
            labels = record.labels[keep]
            results.append(
                Prediction(
                    boxes=record.boxes[keep].astype(np.float32),
                    scores=record.scores[keep].astype(np.float32),
                    labels=labels,
                    names=[self.class_names[label - 1] for label in labels],
                    size=size,
                    path=path,
                )
            )
        return results

    def _detect(self, loaded: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]]) -> list[ImageDetections]:
        """All in one pass of the network."""
        side = (self.input_size, self.input_size)
        resized = (resize_image(pixels, side) for pixels in loaded)
        images = torch.stack([to_tensor(pixels) for pixels in resized])
        with torch.inference_mode():
            detections = self.model(images.to(self.device))
        return from_padded(detections, sizes, list(range(len(loaded))))


def load_image(image: Any, orientation: Orientation = "auto") -> np.ndarray:
    """A path, an array or a PIL image as (H, W, 3) uint8 BGR; orientation as for `Predictor`, errors as its call."""
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image), apply_orientation=orientation == "auto")
    if _is_pil(image):
        if orientation == "auto":
            from PIL.ImageOps import exif_transpose  # at hand, as the image is Pillow's

            image = exif_transpose(image)
        if image.mode[0] in "IF":  # more than 8 bits, which Pillow would clip
            return load_image(to_8_bits(np.asarray(image)))
        return np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
    if not isinstance(image, np.ndarray):
        raise TypeError(f"image: expected a path, a NumPy array or a PIL image, got {type(image).__name__}")
    if image.dtype != np.uint8:
        raise TypeError(f"image: expected a uint8 array, got {image.dtype}")
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.ndim not in (2, 3) or channels not in (1, 3, 4) or image.size == 0:
        raise ValueError(f"image: expected shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), got {image.shape}")
    pixels = image.reshape(*image.shape[:2], channels)[:, :, :3]
    if channels == 1:
        pixels = pixels.repeat(3, axis=2)
    return np.ascontiguousarray(pixels)


def _is_pil(image: Any) -> bool:
    # without importing Pillow, which this package does not need
    return type(image).__module__.split(".")[0] == "PIL" and hasattr(image, "convert")


def _is_image(image: Any) -> bool:
    return isinstance(image, (str, os.PathLike, np.ndarray)) or _is_pil(image)
