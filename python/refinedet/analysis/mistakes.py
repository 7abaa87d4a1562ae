"""The images in which most goes wrong, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import DetectionDataset
from ..data.image_io import write_image
from ..data.pipeline_dataset import UNREADABLE
from ..visualize import draw_boxes, draw_grid
from .matching import Scene, match

DRAWN = 9
"""Images in the picture."""
CELL = 480
CORRECT, WRONG, MISSED = (150, 190, 110), (40, 40, 230), (0, 220, 255)  # BGR: green, red, yellow


@dataclass(frozen=True)
class ImageMistakes:
    """Of one image, by a threshold of the score. image: index into truth.image_ids. correct, wrong: int64 indices of
    detections, missed of objects; what is ignored is in none of them."""

    image: int
    correct: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray


def find_mistakes(scene: Scene, threshold: float) -> list[ImageMistakes]:
    """Of every image that has any, those with most first, at an overlap of 0.5; of equally many in their order.

    A detection that is badly placed is wrong, and the object it was meant for is missed.
    """
    matching = match(scene)  # the best score first: what lies below the threshold takes nothing from what is above
    chosen = scene.scores >= threshold
    found = np.zeros(len(scene.truth), bool)
    found[matching.object_of[chosen & matching.correct]] = True
    missed = np.flatnonzero(~found & ~scene.ignored)
    wrong = np.flatnonzero(chosen & matching.wrong)
    correct = np.flatnonzero(chosen & matching.correct)
    images = len(scene.truth.image_ids)
    counts = np.bincount(scene.truth.image_index[missed], minlength=images)
    counts += np.bincount(scene.image[wrong], minlength=images)
    order = [image for image in np.argsort(-counts, kind="stable").tolist() if counts[image]]
    correct_of, wrong_of = (_by_image(scene.image[rows], rows, images) for rows in (correct, wrong))
    missed_of = _by_image(scene.truth.image_index[missed], missed, images)
    return [ImageMistakes(image, correct_of[image], wrong_of[image], missed_of[image]) for image in order]


def as_json(
    mistakes: list[ImageMistakes], scene: Scene, threshold: float, dataset: DetectionDataset | None
) -> dict[str, Any]:
    """Plain values: every image with its number of mistakes, and its file where the data set is at hand."""
    images = []
    for one in mistakes:
        file = {} if dataset is None else {"file": str(dataset.record(one.image).path)}
        counts = {"missed": len(one.missed), "wrong": len(one.wrong)}
        images.append({"image_id": scene.truth.image_ids[one.image], **file, **counts})
    return {"threshold": threshold, "images": images}


def draw_mistakes(mistakes: list[ImageMistakes], scene: Scene, dataset: DetectionDataset) -> np.ndarray | None:
    """The first images as one, (H, W, 3) uint8, BGR: missed objects yellow, wrong detections red, correct ones green
    and without a name. Images that cannot be read are passed over; None where nothing is left.

    dataset: the images of the scene, in its order.
    """
    tiles: list[np.ndarray] = []
    titles: list[str] = []
    for one in mistakes:
        if len(tiles) == DRAWN:
            break
        try:
            sample = dataset[one.image]
        except UNREADABLE:
            continue
        tiles.append(_draw(one, scene, sample.image))
        titles.append(f"{Path(sample.path).name}: {len(one.missed)} missed, {len(one.wrong)} wrong")
    return draw_grid(tiles, titles=titles, cell=CELL) if tiles else None


def write_mistakes(mistakes: list[ImageMistakes], scene: Scene, dataset: DetectionDataset, path: Path) -> None:
    """`draw_mistakes` into a file, if there is anything to draw."""
    picture = draw_mistakes(mistakes, scene, dataset)
    if picture is not None:
        write_image(path, picture)


def _draw(one: ImageMistakes, scene: Scene, image: np.ndarray) -> np.ndarray:
    names, truth = scene.class_names, scene.truth
    detections = [*one.correct, *one.wrong]
    boxes = np.concatenate([scene.boxes[detections].reshape(-1, 4), truth.boxes[one.missed]])
    colors = [CORRECT] * len(one.correct) + [WRONG] * len(one.wrong) + [MISSED] * len(one.missed)
    texts = [""] * len(one.correct)
    texts += [f"{names[scene.labels[i] - 1]} {scene.scores[i]:.2f}" for i in one.wrong]
    texts += [f"{names[truth.labels[i] - 1]} missed" for i in one.missed]
    return draw_boxes(image, boxes, colors, texts)


def _by_image(owners: np.ndarray, rows: np.ndarray, images: int) -> list[np.ndarray]:
    """Of each image its rows, in their order."""
    order = np.argsort(owners, kind="stable")
    return np.split(rows[order], np.searchsorted(owners[order], np.arange(1, images)))
