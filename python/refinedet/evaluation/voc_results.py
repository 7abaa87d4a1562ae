"""Result files of the PASCAL VOC development kit, which the evaluation server takes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from .results import ImageDetections
from .schema import ImageId, ResultsError

Competition = Literal["comp3", "comp4"]
COMPETITIONS = ("comp3", "comp4")
YEARS = {"voc07": "VOC2007", "voc12": "VOC2012"}
"""The challenge by the kind of metrics."""


def voc_result_files(
    folder: str | os.PathLike[str], class_names: Sequence[str], *, competition: Competition, kind: str, split: str
) -> dict[str, Path]:
    """The file of every class: folder/results/VOC2012/Main/comp4_det_test_<class>.txt, as the server's archives hold
    them.

    competition: "comp3" for models that were trained on the data of the challenge alone, "comp4" for all others, which
    a backbone pretrained on ImageNet makes them. kind: "voc07" or "voc12", the challenge. split: the list of images.
    Raises ValueError for other values, and for names that no file can have.
    """
    if competition not in COMPETITIONS:
        raise ValueError(f"competition: expected one of {', '.join(COMPETITIONS)}, got {competition!r}")
    if kind not in YEARS:
        raise ValueError(f"kind: expected {' or '.join(YEARS)} beside competition, which names the year, got {kind!r}")
    for name in (split, *class_names):
        if not name or any(character in name for character in "/\\\0\n\r"):
            raise ValueError(f"competition: expected names that a file can have, got {name!r}")
    main = Path(folder) / "results" / YEARS[kind] / "Main"
    return {name: main / f"{competition}_det_{split}_{name}.txt" for name in class_names}


def check_voc_ids(image_ids: Iterable[ImageId]) -> None:
    """ValueError for an id that cannot stand in a line of these files, whose columns white space separates."""
    for image_id in image_ids:
        text = str(image_id)
        if not text or any(character.isspace() for character in text):
            raise ValueError(
                "competition: expected image ids without white space, which separates the columns of VOC's result "
                f"files, got {image_id!r}"
            )


def write_voc_results(
    files: Mapping[str, Path], records: Sequence[ImageDetections], original_sizes: Mapping[ImageId, tuple[int, int]]
) -> None:
    """Writes a line for every detection, into the file of its class: image id, score, x1, y1, x2, y2.

    files: by class name, label i being the i-th, as `voc_result_files` gives them; a class without detections gets an
    empty one. records: one per image. original_sizes: (width, height) of every image.

    Coordinates are those of VOC's annotations, in which pixels count from 1 and x2, y2 belong to the box: models that
    were trained on them as they stand (`VOCDetection`'s default) predict the same, and the numbers are written as they
    are, kept within 1 and width or height. Images and their detections stay in the order given. Raises ResultsError for
    a label without a class and OSError.
    """
    check_voc_ids(record.image_id for record in records)
    lines: list[list[str]] = [[] for _ in files]
    for record in records:
        if (record.labels > len(files)).any():
            raise ResultsError(
                f"detections of image {record.image_id!r}: labels: expected 1..{len(files)}, got {record.labels.max()}"
            )
        width, height = original_sizes[record.image_id]
        boxes = np.clip(record.boxes, 1, [width, height, width, height])
        for label, score, (x1, y1, x2, y2) in zip(
            record.labels.tolist(), record.scores.tolist(), boxes.tolist(), strict=True
        ):
            lines[label - 1].append(f"{record.image_id} {score:.9f} {x1:.3f} {y1:.3f} {x2:.3f} {y2:.3f}\n")
    for path, found in zip(files.values(), lines, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(found), encoding="utf-8")
