"""What was found in one image: drawn, saved, and in the forms that other tools read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import check_choice
from .data.checks import Orientation
from .evaluation.results import ImageDetections, to_coco_results
from .evaluation.schema import ImageId
from .extras import import_optional
from .inference.images import COLORS, Color, load_image

if TYPE_CHECKING:
    import pandas
    import supervision


@dataclass(frozen=True)
class Prediction:
    """What was found in one image, the best score first.

    Attributes:
        boxes: (N, 4) float32, (x1, y1, x2, y2) in pixels of the image, inside it.
        scores: (N,) float32.
        labels: (N,) int64, from 1.
        names: N class names.
        size: (width, height) of the image.
        path: its file, its address, or "camera 0"; None for an image that was in memory.
        frame, time: of a video or camera: the frame's number from 0, and its time in seconds; else None.
        image: the pixels that were looked at, (H, W, 3) uint8 in BGR order. None where they can be read again from
            path: results of a call on files do not hold their images. `Predictor.stream` gives them always.
        orientation: how the file was read, see `Predictor`.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: list[str]
    size: tuple[int, int]
    path: str | None = None
    frame: int | None = None
    time: float | None = None
    image: np.ndarray | None = field(default=None, repr=False, compare=False)
    orientation: Orientation = field(default="auto", repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    def plot(
        self,
        image: Any = None,
        *,
        color: Color = "bgr",
        line_width: int | None = None,
        font_scale: float | None = None,
    ) -> np.ndarray:
        """The image with boxes, names and scores drawn; see `refinedet.visualize.draw_detections`.

        Args:
            image: to draw on, any kind that a `Predictor` takes; None is the one that was looked at, which is read
                again from its file where it is not held.
            color: order of the channels of an array that is given and of the result: "bgr" for OpenCV, "rgb" for
                matplotlib and notebooks.
            line_width, font_scale: None chooses them by the image's size.

        Returns:
            (H, W, 3) uint8.

        Raises:
            ValueError: if the image has another size than this prediction's, or if there is none: frames of a video are
                held by `Predictor.stream` alone.
        """
        from .visualize import draw_detections

        check_choice(color, "color", COLORS)
        pixels = self._pixels() if image is None else load_image(image, self.orientation, color)
        if (pixels.shape[1], pixels.shape[0]) != self.size:
            raise ValueError(
                f"image: expected the size {self.size[0]} x {self.size[1]} of this prediction, "
                f"got {pixels.shape[1]} x {pixels.shape[0]}"
            )
        class_names = [""] * int(self.labels.max(initial=0))
        for label, name in zip(self.labels, self.names, strict=True):
            class_names[label - 1] = name
        drawn = draw_detections(
            pixels, self.boxes, self.labels, self.scores, class_names, line_width=line_width, font_scale=font_scale
        )
        return drawn if color == "bgr" else np.ascontiguousarray(drawn[:, :, ::-1])

    def save(self, path: str | os.PathLike[str], image: Any = None) -> Path:
        """Write what `plot` draws, in the format of the path's suffix. A file there is replaced.

        Args:
            path: the file to write.
            image: as for `plot`.

        Returns:
            The path.

        Raises:
            ValueError: beside those of `plot`, for a suffix that OpenCV does not write and for the image's own path.
        """
        from .data.image_io import write_image

        target = Path(path)
        if self.path is not None and target.exists() and os.path.exists(self.path) and target.samefile(self.path):
            raise ValueError(f"path: expected another one than the image's, got {target}")
        write_image(target, self.plot(image))
        return target

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers for JSON; with "frame" and "time" for a frame."""
        moment = {} if self.frame is None else {"frame": self.frame, "time": self.time}
        return {
            "path": self.path,
            **moment,
            "width": self.size[0],
            "height": self.size[1],
            "detections": [
                {"box": box.tolist(), "score": float(score), "label": int(label), "name": name}
                for box, score, label, name in zip(self.boxes, self.scores, self.labels, self.names, strict=True)
            ],
        }

    def to_coco(self, image_id: ImageId, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Entries of a COCO result file: image_id, category_id, bbox [x, y, width, height] in pixels, score.

        Args:
            image_id: of every entry.
            category_ids: the category of label i is category_ids[i - 1]; None: the label is the category.
        """
        record = ImageDetections(image_id, self.boxes, self.scores, self.labels)
        return to_coco_results([record], category_ids)

    def to_yolo(self) -> str:
        """Lines of a YOLO label file with confidence.

        Returns:
            In each line the class from 0, then centre x and y, width and height as fractions of the image, then the
            score. Empty without detections.
        """
        width, height = self.size
        fractions = self.boxes.astype(np.float64) / (width, height, width, height)
        centers, sides = (fractions[:, :2] + fractions[:, 2:]) / 2, fractions[:, 2:] - fractions[:, :2]
        return "".join(
            f"{label - 1} {x:.6f} {y:.6f} {w:.6f} {h:.6f} {score:.6f}\n"
            for label, (x, y), (w, h), score in zip(self.labels, centers, sides, self.scores, strict=True)
        )

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame with the columns x1, y1, x2, y2 (pixels), score, label (from 1) and name.

        Raises:
            ImportError: without pandas.
        """
        library = import_optional("pandas", "Prediction.to_pandas")
        columns = dict(zip(("x1", "y1", "x2", "y2"), self.boxes.T, strict=True))
        names = np.array(self.names, dtype=object)  # of objects without rows, too
        return library.DataFrame({**columns, "score": self.scores, "label": self.labels, "name": names})

    def to_supervision(self) -> supervision.Detections:
        """As `supervision.Detections`, with class_id from 0, as that library counts, and class names in its data.

        Raises:
            ImportError: without supervision.
        """
        library = import_optional("supervision", "Prediction.to_supervision")
        return library.Detections(
            xyxy=self.boxes.astype(np.float32),
            confidence=self.scores.astype(np.float32),
            class_id=(self.labels - 1).astype(int),
            data={"class_name": np.array(self.names, dtype=str)},
        )

    def _pixels(self) -> np.ndarray:
        if self.image is not None:
            return self.image
        if self.path is None or self.frame is not None:
            raise ValueError("image: expected one to draw on, as this prediction does not hold its own, got None")
        return load_image(self.path, self.orientation)
