from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from refinedet.data.annotations import AnnotationTable
from refinedet.data.plots import plot_boxes, plot_classes, position_map
from refinedet.data.statistics import Statistics, measure

NAMES = ["car", "\u8f66\u8f86", "\u041b\u043e\u0448\u0430\u0434\u044c", "$x^$ _odd & <b>", "_hidden", "a" * 90, ""]


def statistics(classes: int, count: int) -> Statistics:
    rng = np.random.default_rng(0)
    corners = rng.random((count, 2)) * 60
    boxes = np.concatenate([corners, corners + 1 + rng.random((count, 2)) * 30], axis=1)
    table = AnnotationTable(
        image_ids=["a", "b"],
        paths=["a", "b"],
        sizes=np.array([[100, 100], [100, 100]]),
        offsets=np.array([0, count, count]),
        boxes=boxes,
        labels=rng.integers(1, classes + 1, count),
        difficult=np.zeros(count, bool),
        crowd=np.zeros(count, bool),
        areas=np.ones(count),
    )
    return measure(table, classes, 320)


@pytest.mark.parametrize(("classes", "count"), [(7, 500), (1, 1), (150, 3000), (3, 0)])
def test_plots_of_any_names_and_numbers(tmp_path: Path, classes: int, count: int) -> None:
    parts = {
        "train": statistics(classes, count),
        "val": statistics(classes, count // 2),
        "test": statistics(classes, 0),
    }
    names = (NAMES * 30)[:classes]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a glyph that is missing, for one
        plot_classes(parts, names, tmp_path / "classes.png")
        plot_boxes(parts, 320, tmp_path / "boxes.png")
    for name in ("classes", "boxes"):
        image = cv2.imread(str(tmp_path / f"{name}.png"))
        assert image.shape[1] > 600 and image.std() > 5


def test_positions_are_those_that_boxes_cover() -> None:
    heat = position_map(np.array([[0, 0, 0.5, 1], [0.25, 0.25, 0.5, 0.5], [0, 0, 1, 1]]))
    assert heat.shape == (64, 64) and heat.max() == 3
    assert heat[20, 20] == 3 and heat[0, 0] == 2 and heat[0, 40] == 1
    assert not position_map(np.zeros((0, 4))).any()
