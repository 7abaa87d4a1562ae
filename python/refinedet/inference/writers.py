"""Predictions to files, one after the other, so that their number does not matter."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ..evaluation.schema import ImageId
from ..prediction import Prediction
from .output_names import LABELS

COLUMNS = ("path", "frame", "time", "width", "height", "x1", "y1", "x2", "y2", "score", "label", "name")


class Writer(Protocol):
    """Takes predictions, and in the end `close`; that is called after an error and an interruption, too, and leaves
    files that are valid and hold what there was until then. complete: whether that is everything."""

    def add(self, prediction: Prediction) -> None: ...

    def close(self, complete: bool) -> None: ...


class GrowingFile:
    """A text file that gets its name, and replaces an older one, when it is closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        # open until `close`; file names need not be valid text
        self._file = open(  # noqa: SIM115
            self._partial, "w", encoding="utf-8", errors="surrogateescape", newline=""
        )

    def write(self, text: str) -> None:
        self._file.write(text)

    def close(self) -> None:
        self._file.close()
        os.replace(self._partial, self.path)


class GrowingList:
    """The entries of a JSON list, each on a line of its own."""

    def __init__(self, file: GrowingFile) -> None:
        self._file, self._empty = file, True

    def add(self, entry: Any) -> None:
        self._file.write(("\n  " if self._empty else ",\n  ") + json.dumps(entry, allow_nan=False))
        self._empty = False


class DetectionsFile:
    """detections.json: class names, an entry per image or frame, what could not be read, whether this is everything."""

    def __init__(self, path: Path, class_names: Sequence[str], outputs: Mapping[str, str] | None) -> None:
        """outputs: the name of the drawn file for each path; None where none is drawn."""
        self._outputs = outputs
        self._failed: list[dict[str, str]] = []
        self._file = GrowingFile(path)
        self._file.write(f'{{\n "class_names": {json.dumps(list(class_names))},\n "images": [')
        self._images = GrowingList(self._file)

    def add(self, prediction: Prediction) -> None:
        entry = prediction.to_dict()
        if self._outputs is not None and prediction.path is not None:
            entry["drawn"] = self._outputs[prediction.path]
        self._images.add(entry)

    def add_failure(self, path: str, error: Exception | str) -> None:
        self._failed.append({"path": path, "error": str(error)})

    def close(self, complete: bool) -> None:
        self._file.write(f'\n ],\n "failed": {json.dumps(self._failed)},\n "complete": {json.dumps(complete)}\n}}\n')
        self._file.close()


class CocoFile:
    """A COCO result file. Image ids as `coco_image_id`; category ids are the model's labels, from 1."""

    def __init__(self, path: Path, outputs: Mapping[str, str]) -> None:
        self._outputs = outputs
        self._file = GrowingFile(path)
        self._file.write("[")
        self._entries = GrowingList(self._file)

    def add(self, prediction: Prediction) -> None:
        for entry in prediction.to_coco(coco_image_id(result_name(prediction, self._outputs))):
            self._entries.add(entry)

    def close(self, complete: bool) -> None:
        self._file.write("\n]\n")
        self._file.close()


class CsvFile:
    """A line per detection, with the columns `COLUMNS`; boxes in pixels, frame and time empty for images."""

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def add(self, prediction: Prediction) -> None:
        about = (prediction.path, prediction.frame, prediction.time, *prediction.size)
        for found in prediction.to_dict()["detections"]:
            self._rows.writerow((*about, *found["box"], found["score"], found["label"], found["name"]))

    def close(self, complete: bool) -> None:
        self._file.close()


class YoloFiles:
    """A YOLO label file with confidences for each image, empty where nothing was found; of a video for each frame, in
    a folder of its own."""

    def __init__(self, folder: Path, outputs: Mapping[str, str]) -> None:
        self._folder, self._outputs = folder / LABELS, outputs
        self._folder.mkdir(exist_ok=True)

    def add(self, prediction: Prediction) -> None:
        path = self._folder / f"{result_name(prediction, self._outputs)}.txt"
        if prediction.frame == 0:
            path.parent.mkdir(exist_ok=True)
        path.write_text(prediction.to_yolo(), encoding="utf-8")

    def close(self, complete: bool) -> None:
        pass


def result_name(prediction: Prediction, outputs: Mapping[str, str]) -> str:
    """Of an image its output's name without the suffix; of a frame that of the video, and its number: "clip/000012"."""
    stem = PurePosixPath(outputs[str(prediction.path)]).stem
    return stem if prediction.frame is None else f"{stem}/{prediction.frame:06d}"


def coco_image_id(name: str) -> ImageId:
    """The number that a name is, as COCO's file names are, else the name."""
    return int(name) if name.isascii() and name.isdecimal() else name
