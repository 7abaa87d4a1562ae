"""torchvision's detectors in the study of peers; without torchvision nothing of this runs."""

from __future__ import annotations

import dataclasses
import json

import cv2
import pytest
import torch

pytest.importorskip("torchvision")

from benchmarks.study.peer_training import vision, vision_models
from benchmarks.study.peer_training.contestants import CONTESTANTS
from benchmarks.study.peer_training.task import Photographs, Task

from ...refinedet.data.makers import noise

NAMES = ["cell", "disc"]


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    """Four photographs with an object each, as a COCO file."""
    folder = tmp_path_factory.mktemp("photographs")
    content = {"images": [], "annotations": [], "categories": [{"id": i, "name": n} for i, n in enumerate(NAMES, 1)]}
    for number in range(4):
        cv2.imwrite(str(folder / f"{number}.jpg"), noise(96, 72, number))
        content["images"].append({"id": number, "file_name": f"{number}.jpg", "width": 96, "height": 72})
        box = {"id": number, "image_id": number, "category_id": 1 + number % 2, "bbox": [10, 10, 50, 40]}
        content["annotations"].append({**box, "area": 2000, "iscrowd": 0})
    (folder / "part.json").write_text(json.dumps(content))
    return folder / "part.json"


@pytest.mark.parametrize("name", vision_models.MODELS)
def test_models_give_losses_and_detections(name):
    model = vision_models.build(name, NAMES, None, score_thresh=0.0)
    images = [torch.rand(3, 72, 96) for _ in range(2)]
    targets = [{"boxes": torch.tensor([[10.0, 10, 60, 50]]), "labels": torch.tensor([1])} for _ in images]
    losses = model.train()(images, targets)
    sum(losses.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    with torch.inference_mode():
        (one,) = model.eval()(images[:1])
    assert one["boxes"].shape[1] == 4 and set(one["labels"].tolist()) <= {0, 1, 2}
    assert name == "retinanet_lite0" or 0 not in one["labels"]


@pytest.mark.parametrize("recipe", vision.RECIPES)
def test_rates_rise_and_fall(recipe):
    chosen = vision.RECIPES[recipe]
    shares = [0.0, 0.2, 0.5, 0.8, 1.0]
    factors = [vision.rate_factor(chosen, 500, share, 50) for share in shares]
    assert factors[0] == 1 and factors == sorted(factors, reverse=True)
    assert factors[-1] == pytest.approx(chosen.final if chosen.milestones is None else 0.01)
    assert vision.rate_factor(chosen, 0, 0.0, 50) == pytest.approx(0.001)


@pytest.mark.parametrize("augmentation", vision.AUGMENTATIONS)
def test_augmented_boxes_lie_in_their_image(augmentation, part):
    torch.manual_seed(0)
    dataset = vision.TrainingSet(Photographs.read(part, part.parent), augmentation)
    for index in range(4):
        image, target = dataset[index]
        assert image.dtype == torch.float32 and image.min() >= 0 and image.max() <= 1
        assert len(target["boxes"]) == len(target["labels"]) == 1
        x1, y1, x2, y2 = target["boxes"][0].tolist()
        assert 0 <= x1 < x2 <= image.shape[2] and 0 <= y1 < y2 <= image.shape[1]


def test_a_training_leaves_detections_weights_and_a_history(part, tmp_path):
    options = {"model": "ssdlite_mobilenetv3", "recipe": "own_data", "bfloat16": True}
    recipe = dataclasses.replace(vision.RECIPES["own_data"], batch=2)
    task = Task("x", 0, 0.01, [1.0], str(part.parent), *[str(part)] * 3, str(tmp_path), None, options)
    photographs = Photographs.read(part, part.parent)
    model = vision_models.build(options["model"], NAMES, None)
    clock = vision.train(model, vision.TrainingSet(photographs, "ssdlite"), recipe, task)
    assert (clock.steps, clock.images, len(clock.snapshots)) == (1, 2, 1)
    model.load_state_dict(clock.snapshots[0].weights)
    found = vision.detect(model, photographs)
    assert {entry["image_id"] for entry in found} == set(range(4))


class Background(torch.nn.Module):
    """Finds something of class 0, as an untrained RetinaNet does, and something of class 2."""

    def forward(self, images):
        boxes = torch.tensor([[0.0, 0, 9, 9], [10, 10, 60, 50]])
        return [{"boxes": boxes, "scores": torch.tensor([0.9, 0.8]), "labels": torch.tensor([0, 2])}]


def test_a_class_that_no_object_is_of_is_left_out(part):
    found = vision.detect(Background(), Photographs.read(part, part.parent))
    assert [(entry["category_id"], entry["bbox"]) for entry in found] == [(2, [10, 10, 50, 40])] * 4


def test_contestants_name_what_there_is():
    for contestant in CONTESTANTS:
        if contestant.module == "vision":
            assert contestant.options["model"] in vision_models.MODELS
            assert contestant.options["recipe"] in vision.RECIPES
