"""What a training process is asked for and what it answers, as files: the two Pythons share nothing else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .clock import Snapshot

HISTORY = "history.json"


@dataclass(frozen=True)
class Task:
    """One training.

    contestant: its name. seconds: processor time. points: see `TrainingClock`. images: folder of the photographs.
    train, val, test: their COCO files. folder: gets what is learnt. weights: a file of pretrained weights. options:
    what this contestant's module wants to know.
    """

    contestant: str
    seed: int
    seconds: float
    points: list[float]
    images: str
    train: str
    val: str
    test: str
    folder: str
    weights: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Task:
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Photograph:
    """boxes: x1, y1, x2, y2 in pixels; labels from 1, in the order of the categories."""

    id: Any
    path: Path
    width: int
    height: int
    boxes: list[list[float]]
    labels: list[int]


@dataclass(frozen=True)
class Photographs:
    """A part of a data set. category_ids: of the labels 1, 2, ..."""

    items: list[Photograph]
    class_names: list[str]
    category_ids: list[int]

    @classmethod
    def read(cls, path: str | Path, images: str | Path) -> Photographs:
        """A COCO file. images: the folder that its names belong to."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        ids = [category["id"] for category in content["categories"]]
        boxes: dict[Any, list[list[float]]] = {image["id"]: [] for image in content["images"]}
        labels: dict[Any, list[int]] = {image["id"]: [] for image in content["images"]}
        for entry in content["annotations"]:
            x, y, width, height = entry["bbox"]
            boxes[entry["image_id"]].append([x, y, x + width, y + height])
            labels[entry["image_id"]].append(1 + ids.index(entry["category_id"]))
        items = [
            Photograph(
                image["id"],
                Path(images) / image["file_name"],
                image["width"],
                image["height"],
                boxes[image["id"]],
                labels[image["id"]],
            )
            for image in content["images"]
        ]
        return cls(items, [category["name"] for category in content["categories"]], ids)


def results_of(
    image: Photograph,
    boxes: Iterable[Sequence[float]],
    scores: Iterable[float],
    labels: Iterable[int],
    category_ids: Sequence[int],
) -> list[dict[str, Any]]:
    """Detections in an image's pixels as COCO result entries. KeyError for a label that stands for no category."""
    categories = dict(enumerate(category_ids, 1))
    return [
        {
            "image_id": image.id,
            "category_id": categories[label],
            "bbox": [round(float(value), 3) for value in (x1, y1, x2 - x1, y2 - y1)],
            "score": float(score),
        }
        for (x1, y1, x2, y2), score, label in zip(boxes, scores, labels, strict=True)
    ]


def write_history(
    folder: Path, snapshots: Sequence[Snapshot], detections: Sequence[list[dict[str, Any]]], **about: Any
) -> None:
    """The detections of every snapshot, and last the file that says that all are there. about: the contestant."""
    points = []
    for number, (snapshot, found) in enumerate(zip(snapshots, detections, strict=True)):
        name = f"detections-{number}.json"
        (folder / name).write_text(json.dumps(found), encoding="utf-8")
        points.append(
            {
                "seconds": snapshot.seconds,
                "wall_seconds": snapshot.wall_seconds,
                "steps": snapshot.steps,
                "images": snapshot.images,
                "detections": name,
            }
        )
    (folder / HISTORY).write_text(json.dumps({"points": points, "about": about}, indent=1) + "\n", encoding="utf-8")
