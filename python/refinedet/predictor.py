"""From images of any kind and size to boxes in their pixels."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from .checks import check_choice, check_integer, check_names
from .data.checks import Orientation
from .inference.images import COLORS, Color, is_image
from .inference.loading import ImageLoader, LoadedImage, Unreadable, is_path, listed
from .inference.read_ahead import read_ahead
from .inference.selection import DEFAULT_SCORE_THRESHOLD, ScoreThreshold, lowest_scores
from .inference.sources import stands_for_several
from .prediction import Prediction
from .runtimes.model import RuntimeModel

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from .detectors import Detector
    from .inference import MultiScale
    from .inference.network import Network


OPTIMIZE = ("off", "auto", "float32", "bfloat16")

ImageLike = Any
"""A path, an address, an array, a tensor or a PIL image; see `Predictor.stream`."""

OnError = Literal["raise"] | Callable[[ImageLike, Exception], None]


class Predictor:
    """Runs a detector on files, folders, videos, arrays, tensors and PIL images. ::

        predictor = Predictor.from_file("model.safetensors")
        prediction = predictor("photo.jpg")
        for prediction in predictor.stream("photos/"): ...

    The attribute `about` is one line on what runs the network, and how.

    Args:
        model: a detector, which is put into eval mode, or a `RuntimeModel`.
        class_names: of the labels 1, 2, ...; None names them "class 1" and so on, or as the file of a `RuntimeModel`
            does.
        device: where to run, None leaves the model where it is.
        batch_size: images in one pass of the network.
        input_size: side in pixels to which images are resized, None is the model's own.
        orientation: "auto" turns photographs as their EXIF tag says, as viewers and cv2.imread do, and boxes are in
            pixels of the image so turned; "stored" takes the pixels as they are stored.
        color: order of the channels of arrays and tensors, "bgr" or "rgb"; None is "bgr" for arrays, as OpenCV reads
            them, and "rgb" for tensors, as torchvision reads them. Files and PIL images say theirs themselves.
        multi_scale: a recipe of `refinedet.inference`, or its name, in place of one size.
        optimize: "auto", "float32" or "bfloat16" runs a copy of a detector that `optimize_for_inference` makes with
            this dtype, on the CPU; "off" runs the model as it is.

    Raises:
        ValueError: for options that do not fit, and for a model whose weights are not all finite.
    """

    def __init__(
        self,
        model: Detector | RuntimeModel,
        class_names: Sequence[str] | None = None,
        *,
        device: torch.device | str | None = None,
        batch_size: int = 8,
        input_size: int | None = None,
        multi_scale: MultiScale | str | None = None,
        orientation: Orientation = "auto",
        color: Color | None = None,
        optimize: str = "off",
    ) -> None:
        check_integer(batch_size, "batch_size", 1)
        if class_names is None:
            known = model.class_names if isinstance(model, RuntimeModel) else None
            class_names = known or [f"class {label}" for label in range(1, model.num_classes)]
        self.class_names = check_names(class_names, model.num_classes)
        size = model.input_side(input_size)
        check_choice(orientation, "orientation", ("auto", "stored"))
        check_choice(color, "color", (*COLORS, None))
        check_choice(optimize, "optimize", OPTIMIZE)
        if input_size is not None and multi_scale is not None:
            raise ValueError("input_size: expected None where multi_scale says the sizes")
        self.model: Any = model
        self.device: Any = "cpu"
        self._network: Network
        if isinstance(model, RuntimeModel):
            if optimize != "off" or multi_scale is not None or device not in (None, "cpu"):
                raise ValueError(
                    "model: one in a runtime has its precision, one input size and the CPU, expected optimize off, "
                    f"multi_scale None and device None, got {optimize}, {multi_scale} and {device}"
                )
            self._network, self.about = model, model.about
        else:
            from .inference.network import in_torch

            self.model, self._network, self.about = in_torch(
                model, size, device=device, multi_scale=multi_scale, optimize=optimize
            )
            self.device = next(model.parameters()).device
        self.batch_size = batch_size
        self.input_size = size
        self.multi_scale = multi_scale
        self.orientation: Orientation = orientation
        self.color = color
        self._loader = ImageLoader(orientation, color)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        runtime: str | None = None,
        threads: int | None = None,
        device: torch.device | str = "cpu",
        batch_size: int = 8,
        input_size: int | None = None,
        multi_scale: MultiScale | str | None = None,
        orientation: Orientation = "auto",
        color: Color | None = None,
        optimize: str = "off",
        **options: Any,
    ) -> Predictor:
        """A predictor for a file that `save_model` or `refinedet export` wrote.

        Args:
            path: a file in ``.safetensors``, ``.onnx``, OpenVINO's ``.xml``, or ``.pt2``.
            runtime: "torch", "onnxruntime" or "openvino"; None is torch for ``.safetensors`` and ``.pt2``, OpenVINO for
                ``.xml``, and ONNX Runtime for ``.onnx``; "auto" is the fastest here, which `about` names: those
                that are installed are measured on one image, once for a file and a machine, and the times kept in the
                user's cache folder. Another one than torch gets a ``.safetensors`` file as ONNX, converted at the first
                use and kept there, too. Without "torch", and once a file is converted, torch is not loaded.
            threads: of the network; None is the runtime's own choice. In torch it holds for the whole process.
            optimize: in torch as for `Predictor`. In the others the precision: "off" is float32; "bfloat16", and "auto"
                where the processor multiplies it, with OpenVINO.
            options: changes to the model's options, as `load_model`; for other files than ``.safetensors`` nms alone.
            device, batch_size, input_size, orientation, color, multi_scale: as for `Predictor`.

        Raises:
            FileNotFoundError: without the file.
            ValueError: for a file or options that do not fit.
            ImportError: for a runtime that is not installed.
        """
        from .runtimes.load import load_any

        loaded = load_any(
            path,
            runtime,
            threads=threads,
            device=device,
            input_size=input_size,
            multi_scale=multi_scale,
            optimize=optimize,
            options=options,
        )
        predictor = cls(
            loaded.model,
            loaded.class_names,
            batch_size=batch_size,
            input_size=input_size,
            multi_scale=multi_scale,
            orientation=orientation,
            color=color,
            optimize=loaded.optimize,
        )
        if loaded.reason and not isinstance(loaded.model, RuntimeModel):
            predictor.about += f" ({loaded.reason})"
        return predictor

    @overload
    def __call__(  # type: ignore[overload-overlap]  # an array is an iterable, too
        self,
        images: np.ndarray | Image,
        *,
        score_threshold: ScoreThreshold = DEFAULT_SCORE_THRESHOLD,
        classes: str | Sequence[str] | None = None,
    ) -> Prediction: ...

    @overload
    def __call__(  # of a folder, a pattern or a video, the result is a list
        self,
        images: str | os.PathLike[str] | torch.Tensor,
        *,
        score_threshold: ScoreThreshold = DEFAULT_SCORE_THRESHOLD,
        classes: str | Sequence[str] | None = None,
    ) -> Any: ...

    @overload
    def __call__(
        self,
        images: Iterable[ImageLike],
        *,
        score_threshold: ScoreThreshold = DEFAULT_SCORE_THRESHOLD,
        classes: str | Sequence[str] | None = None,
    ) -> list[Prediction]: ...

    def __call__(
        self,
        images: Any,
        *,
        score_threshold: ScoreThreshold = DEFAULT_SCORE_THRESHOLD,
        classes: str | Sequence[str] | None = None,
    ) -> Any:
        """Detect in one image, or in several.

        The list that is returned for several holds the images that were in memory, and not those of files. For more
        results than fit into memory there is `stream`, whose errors this has, too.

        Args:
            images: as for `stream`, but for cameras. A folder, a pattern, a video and a (B, C, H, W) tensor are
                several.
            score_threshold, classes: as for `stream`; metrics want ``score_threshold=0.0``.

        Returns:
            A `Prediction`, or for several images a list of them, in their order.
        """
        lowest = lowest_scores(self.class_names, score_threshold, classes)
        if is_image(images) and not (isinstance(images, (str, os.PathLike)) and stands_for_several(images)):
            return self._run([self._loader.load(images)], lowest, hold=False)[0]
        return list(self._stream(listed(images), lowest, "raise", streaming=False))

    def stream(
        self,
        images: Any,
        *,
        score_threshold: ScoreThreshold = DEFAULT_SCORE_THRESHOLD,
        classes: str | Sequence[str] | None = None,
        on_error: OnError = "raise",
    ) -> Generator[Prediction, None, None]:
        """Detect in images one after the other, in memory that does not grow with their number.

        Files are read in a thread while the network runs. Some images are taken ahead of the results, up to twice
        batch_size; an iterable must not give one array with changing content.

        Args:
            images: an image, or an iterable of images. An image is a path, an http(s) address, a PIL image of any mode,
                a uint8 array of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a tensor of shape (C, H, W) or (B,
                C, H, W) with C 1, 3 or 4, uint8 or floats from 0 to 1. Alpha is ignored. A path may also be a folder
                (its own images and videos, without subfolders), a pattern (``photos/**`` goes through subfolders) or a
                video file; a number is a camera, whose frames never end.
            score_threshold: leave out detections with lower scores; one for all classes, or some by name, where the
                others have the default of 0.5.
            classes: names of those that are wanted; None is all.
            on_error: "raise", or a function that is called with an image that cannot be read (its path, or what was
                given) and the error; that image is then left out.

        Yields:
            A `Prediction` for every image.

        Raises:
            ValueError: at the call for options that do not fit; while it goes on, for an unreadable file or a wrong
                shape.
            FileNotFoundError: for a missing file.
            OSError: for an address that does not answer and a video that cannot be opened.
            TypeError: for anything else that cannot be read.
            FloatingPointError: if the network computes NaN.
        """
        lowest = lowest_scores(self.class_names, score_threshold, classes)
        if on_error != "raise" and not callable(on_error):
            raise ValueError(f"on_error: expected 'raise' or a function, got {on_error!r}")
        return self._stream(listed(images), lowest, on_error, streaming=True)

    def _stream(
        self, images: Iterable[Any], lowest: np.ndarray, on_error: OnError, *, streaming: bool
    ) -> Generator[Prediction, None, None]:
        chunk: list[LoadedImage] = []
        flat = self._loader.flat(images, cameras=streaming)
        ahead = read_ahead(flat, self._loader.load, self.batch_size, is_path)
        try:
            for image, result in ahead:
                try:
                    chunk.append(result())
                except (OSError, ValueError) as error:
                    if on_error == "raise":
                        yield from self._run(chunk, lowest, hold=streaming)
                        raise
                    on_error(image.source if isinstance(image, Unreadable) else image, error)
                if len(chunk) == self.batch_size:
                    yield from self._run(chunk, lowest, hold=streaming)
                    chunk = []
        finally:
            ahead.close()
        yield from self._run(chunk, lowest, hold=streaming)

    def _run(self, loaded: Sequence[LoadedImage], lowest: np.ndarray, *, hold: bool) -> list[Prediction]:
        if not loaded:
            return []
        results = []
        for record, one in zip(self._network([image.pixels for image in loaded]), loaded, strict=True):
            keep = record.scores >= lowest[record.labels - 1]
            labels = record.labels[keep]
            results.append(
                Prediction(
                    boxes=record.boxes[keep].astype(np.float32),
                    scores=record.scores[keep].astype(np.float32),
                    labels=labels,
                    names=[self.class_names[label - 1] for label in labels],
                    size=(one.pixels.shape[1], one.pixels.shape[0]),
                    path=one.path,
                    frame=one.frame,
                    time=one.time,
                    image=one.pixels if hold or not one.reread else None,
                    orientation=self.orientation,
                )
            )
        return results
