from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from refinedet import create_model
from refinedet.coverage import Choice, anchors_of, best_ious, better_choices, cover
from refinedet.data import VOCDetection

from .data.makers import make_voc, voc_object, voc_xml


@pytest.mark.parametrize(("name", "size"), [("refinedet192_small", None), ("refinedet192_small", 128)])
def test_anchors_are_those_of_the_network(name: str, size: int | None) -> None:
    anchors, side = anchors_of(name, size)
    model = create_model(name, 3).eval()
    with torch.no_grad():
        want = model.head_outputs(torch.zeros(1, 3, side, side)).anchors
    assert side == (size or 192)
    np.testing.assert_array_equal(anchors, want.double().numpy())


def test_anchors_refuse() -> None:
    with pytest.raises(ValueError, match="no model 'refinedet192_smal'; did you mean 'refinedet192_small'"):
        anchors_of("refinedet192_smal")
    with pytest.raises(ValueError, match="input_size: expected a multiple of"):
        anchors_of("refinedet192_small", 100)


def test_best_ious() -> None:
    anchors = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    boxes = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 0.75, 1], [0.6, 0, 0.7, 0.1]])
    np.testing.assert_allclose(best_ious(boxes, anchors), [1, 0.5, 0])
    many = np.tile(boxes, (100, 1))  # more than are looked at together
    np.testing.assert_allclose(best_ious(many, anchors), np.tile([1, 0.5, 0], 100))
    assert best_ious(np.zeros((0, 4)), anchors).shape == (0,)


def boxes_of(root: Path, side: int, count: int = 40) -> VOCDetection:
    """Images of 320 x 320 with squares of one size."""
    corners = np.random.default_rng(0).integers(0, 320 - side, (count, 2)).tolist()
    xml = voc_xml([voc_object("car", (x, y, x + side, y + side)) for x, y in corners], (320, 320))
    return VOCDetection(make_voc(root, {"a": xml}, size=(320, 320)), "train", classes="auto")


def test_coverage_by_size(tmp_path: Path) -> None:
    anchors, side = anchors_of("refinedet320_vgg16")
    good = cover(boxes_of(tmp_path / "64", 64).table, anchors, side)
    assert good["medium"].boxes == good["all"].boxes == 40 and good["medium"].good == 1
    assert 0.5 < good["medium"].mean_iou < 1
    assert good["small"].boxes == 0 and math.isnan(good["small"].good) and math.isnan(good["small"].mean_iou)
    tiny = cover(boxes_of(tmp_path / "8", 8).table, anchors, side)
    assert tiny["small"].good == 0 and tiny["small"].mean_iou < 0.1


def test_a_choice_is_better_only_where_it_is_needed(tmp_path: Path) -> None:
    anchors, side = anchors_of("refinedet320_vgg16")
    table = boxes_of(tmp_path / "64", 64).table
    assert better_choices(table, Choice("refinedet320_vgg16", side, cover(table, anchors, side))) == []
    table = boxes_of(tmp_path / "20", 20).table
    now = Choice("refinedet320_vgg16", side, cover(table, anchors, side))
    better = better_choices(table, now)
    assert better and all(choice.worst >= now.worst + 0.05 for choice in better)
    own = [choice for choice in better if choice.model == "refinedet320_vgg16"]
    assert own and own[0].input_size > 320
