from __future__ import annotations

import numpy as np
import pytest
import torch

import refinedet_ext as rx
from refinedet import Predictor
from refinedet.inference import RECIPES, MultiScale, Pass, multi_scale_detections

from ..detectors.test_refinedet import tiny


class Finder(torch.nn.Module):
    """Finds the bright rectangle of an image exactly, whatever the size of the input."""

    def __init__(self):
        super().__init__()
        model = tiny()
        self.normalization, self.nms, self.config = model.normalization, model.nms, model.config
        self.size_multiple, self.num_classes = 64, 4
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def head_outputs(self, images):
        self.seen.append(tuple(images.shape[2:]))
        rows, columns = (images[0, 0] > 100).nonzero(as_tuple=True)
        height, width = images.shape[2:]
        box = torch.tensor([columns.min() / width, rows.min() / height, columns.max() / width, rows.max() / height])
        score = torch.tensor([[0.9]])
        return rx.Detections(box[None, None], score, torch.tensor([[2]]), torch.tensor([1]))

    def detect(self, outputs):
        return outputs


def image(x1=100, y1=40, x2=300, y2=240, width=640, height=384):
    image = np.zeros((height, width, 3), np.uint8)
    image[y1:y2, x1:x2] = 255
    return image


def test_scales_flips_and_filters_of_the_original():
    finder = Finder()
    found = multi_scale_detections(finder, image(), "320_voc")
    sides = [(320, 320), (192, 320), (192, 192), *((s, s) for s in (384, 448, 512, 576, 704))]
    assert finder.seen == [side for side in sides for _ in range(2)]
    # the passes for small objects are filtered out: 200 pixels is more than 160
    assert len(found) == 1 and found.labels.tolist() == [2]
    np.testing.assert_allclose(found.boxes[0], [100, 40, 300, 240], atol=4)


@pytest.mark.parametrize("height", [640, 384], ids=["tall", "square"])
def test_tall_and_square_images_turn_the_rectangle(height):
    finder = Finder()
    multi_scale_detections(finder, image(width=384, height=height), MultiScale((Pass(320, 192),), flip=False))
    assert finder.seen == [(320, 192)]


def test_filters_count_the_last_pixel():
    boxes = np.array([[0.0, 0, 30, 100], [0, 0, 31, 31]])  # 31 and 32 pixels wide
    assert Pass(64, 64, below=32).keeps(boxes).tolist() == [True, False]
    assert Pass(64, 64, above=32).keeps(boxes).tolist() == [True, False]
    assert Pass(64, 64).keeps(np.zeros((0, 4))).tolist() == []


def test_all_recipes_fit_the_networks():
    for recipe in RECIPES.values():
        assert all(side % 64 == 0 for one in recipe.passes for side in (one.long, one.short))
        assert len(set(recipe.passes)) == len(recipe.passes)


@pytest.mark.parametrize("voting", ["box", "soft"])
def test_a_real_network_with_the_predictor(voting):
    model = tiny().eval()
    recipe = MultiScale((Pass(128, 128), Pass(128, 64), Pass(192, 192, below=40)), voting=voting, keep=20)
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    prediction = Predictor(model, multi_scale=recipe)(image, score_threshold=0.0)
    assert 0 < len(prediction) <= 20 and (np.diff(prediction.scores) <= 0).all()
    assert (prediction.boxes >= 0).all() and (prediction.boxes <= [120, 90, 120, 90]).all()


def test_an_image_without_detections():
    model = tiny().eval()
    with torch.no_grad():
        for conv in model.arm.cls:
            conv.bias.view(3, 2)[:, 0] = 1e4  # sure of background
    found = multi_scale_detections(model, image(width=128, height=128, x1=1, x2=9, y1=1, y2=9), "320_coco")
    assert len(found) == 0


def test_wrong_options():
    with pytest.raises(ValueError, match="recipe: expected"):
        multi_scale_detections(tiny().eval(), image(), "640")
    with pytest.raises(ValueError, match="voting: expected"):
        MultiScale((Pass(64, 64),), voting="hard")
    with pytest.raises(ValueError, match="passes: expected at least one"):
        MultiScale(())
    with pytest.raises(ValueError, match="input_size: expected None where multi_scale says the sizes"):
        Predictor(tiny(), input_size=128, multi_scale="320_voc")
