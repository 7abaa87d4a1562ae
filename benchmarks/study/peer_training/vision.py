"""Trains a detector of torchvision as its reference scripts do, for a given time: `... .vision train TASK.json`;
or times it: `... .vision time TASK.json`."""

from __future__ import annotations

import copy
import math
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchvision import tv_tensors
from torchvision.transforms import v2

from .clock import TrainingClock
from .task import Photograph, Photographs, Task, results_of, write_history
from .timing import THRESHOLD, Detect, Found, exported, time_all
from .vision_models import build, to_tensor

MODEL = "model.pt"


@dataclass(frozen=True)
class Recipe:
    """How a detector is trained.

    batch: images of a step. augmentation: see `AUGMENTATIONS`. lr, weight_decay: the optimizer's. milestones: shares of
    the run at which the rate falls to a tenth; None is a cosine to `final` of it. warmup: steps in which the rate rises
    linearly; None is the first epoch, at most 1000. clip: largest norm of the gradients. average: decay of a moving
    average of the weights, which is what is evaluated.
    """

    batch: int
    augmentation: str
    lr: float
    weight_decay: float
    milestones: tuple[float, ...] | None = None
    final: float = 0.0
    warmup: int | None = None
    optimizer: str = "sgd"
    clip: float | None = None
    average: float | None = None


# The first three are those of references/detection/README.md, for one of its eight GPUs: its images, and an eighth of
# the rate. Where they fall at epochs, these do at the same shares of the run.
RECIPES = {
    "ssdlite": Recipe(batch=24, augmentation="ssdlite", lr=0.15 / 8, weight_decay=4e-5),
    "ssd": Recipe(batch=4, augmentation="ssd", lr=0.002 / 8, weight_decay=5e-4, milestones=(80 / 120, 110 / 120)),
    "retinanet": Recipe(batch=2, augmentation="flip", lr=0.01 / 8, weight_decay=1e-4, milestones=(16 / 26, 22 / 26)),
    # refinedet/configs/own_data.yaml, to tell the recipe from the detector
    "own_data": Recipe(
        batch=16,
        augmentation="ssd",
        lr=0.0015,
        weight_decay=0.05,
        final=0.01,
        warmup=50,
        optimizer="adamw",
        clip=20.0,
        average=0.99,
    ),
}

FLIP: list[Any] = [v2.RandomHorizontalFlip(0.5)]
AUGMENTATIONS: dict[str, list[Any]] = {
    "flip": FLIP,
    "ssdlite": [v2.RandomIoUCrop(), *FLIP],
    "ssd": [v2.RandomPhotometricDistort(), v2.RandomZoomOut(fill=[123.0, 117.0, 104.0]), v2.RandomIoUCrop(), *FLIP],
}


class TrainingSet(torch.utils.data.Dataset[tuple[Tensor, dict[str, Tensor]]]):
    def __init__(self, photographs: Photographs, augmentation: str) -> None:
        self.items = [item for item in photographs.items if item.boxes]
        self.transforms = v2.Compose(
            [
                *AUGMENTATIONS[augmentation],
                v2.PILToTensor(),
                v2.ToDtype(torch.float, scale=True),
                v2.SanitizeBoundingBoxes(),
                v2.ToPureTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        item = self.items[index]
        boxes = tv_tensors.BoundingBoxes(
            item.boxes, format="XYXY", canvas_size=(item.height, item.width), dtype=torch.float32
        )
        image, target = self.transforms(read(item), {"boxes": boxes, "labels": torch.tensor(item.labels)})
        return image, target


def read(item: Photograph) -> Image.Image:
    with Image.open(item.path) as image:
        return image.convert("RGB")


def batches(dataset: TrainingSet, size: int, seed: int) -> Iterator[list[tuple[Tensor, dict[str, Tensor]]]]:
    """Endless epochs, what is over of each left out."""
    loader = torch.utils.data.DataLoader(
        dataset,
        size,
        shuffle=True,
        drop_last=True,
        collate_fn=list,
        generator=torch.Generator().manual_seed(seed),
    )
    while True:
        yield from loader


def rate_factor(recipe: Recipe, step: int, share: float, warmup: int) -> float:
    """What the learning rate is multiplied by at a step, from 0, when a share of the time is over."""
    if recipe.milestones is not None:
        factor = 0.1 ** sum(share >= milestone for milestone in recipe.milestones)
    else:
        factor = recipe.final + (1 - recipe.final) * 0.5 * (1 + math.cos(math.pi * share))
    return factor * (0.001 + 0.999 * step / warmup if step < warmup else 1.0)


def train(model: nn.Module, dataset: TrainingSet, recipe: Recipe, task: Task) -> TrainingClock:
    """Trains until the time is over; the clock has the weights on the way."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "adamw":
        optimizer = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    else:
        optimizer = torch.optim.SGD(parameters, lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    average = None
    if recipe.average is not None:
        average = AveragedModel(model, avg_fn=moving_average(recipe.average), use_buffers=True)
    evaluated = model if average is None else average.module
    warmup = recipe.warmup or min(1000, len(dataset) // recipe.batch - 1)
    model.train()
    clock = TrainingClock(task.seconds, task.points)
    for step, batch in enumerate(batches(dataset, recipe.batch, task.seed)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * rate_factor(recipe, step, clock.share, warmup)
        with torch.autocast("cpu", torch.bfloat16, enabled=task.options["bfloat16"]):
            losses = model([image for image, _ in batch], [target for _, target in batch])
        loss = sum(losses.values())
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is not finite at step {step}: {losses}")
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
        optimizer.step()
        if average is not None:
            average.update_parameters(model)
        if clock.after_step(len(batch), lambda: copy.deepcopy(evaluated.state_dict())):
            break
    return clock


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    def update(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        n = int(count)
        return averaged + (current - averaged) * (1 - min(decay, (1 + n) / (10 + n)))

    return update


def detect(model: nn.Module, photographs: Photographs) -> list[dict[str, Any]]:
    """COCO result entries, image by image, as the reference scripts evaluate."""
    found = []
    model.eval()
    with torch.inference_mode():
        for item in photographs.items:
            (one,) = model([to_tensor(np.array(read(item)))])
            known = one["labels"] > 0  # RetinaNet has a score for a class 0, which no object is of
            boxes, scores, labels = (one[key][known].tolist() for key in ("boxes", "scores", "labels"))
            found += results_of(item, boxes, scores, labels, photographs.category_ids)
    return found


def measure(task: Task) -> None:
    """Times the trained detector in torch, and exported by torch with everything from pixels to detections."""
    names = Photographs.read(task.test, task.images).class_names
    model = build(task.options["model"], names, None, score_thresh=THRESHOLD)
    model.load_state_dict(torch.load(Path(task.folder) / MODEL, weights_only=True))
    model = model.to(memory_format=torch.channels_last).eval()
    file = Path(task.folder) / "model.onnx"
    with Image.open(Photographs.read(task.test, task.images).items[0].path) as image:
        example = torch.rand(3, image.height, image.width)
    torch.onnx.export(model, ([example],), str(file), dynamo=False, opset_version=17)

    def in_torch(pixels: np.ndarray) -> Found:
        with torch.inference_mode():
            (one,) = model([to_tensor(pixels)])
        return Found(one["boxes"].numpy(), one["scores"].numpy(), one["labels"].numpy())

    def wrap(network: Callable[[np.ndarray], list[np.ndarray]]) -> Detect:
        def detect(pixels: np.ndarray) -> Found:
            found = Found(*network(np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(255)))
            return Found(*(values[found.scores > THRESHOLD] for values in found))

        return detect

    time_all(task, {"torch": lambda: in_torch, **exported(file, wrap)}, versions())


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "torchvision": torchvision.__version__}


def main(arguments: list[str]) -> int:
    what, file = arguments
    torch.set_num_threads(1)
    {"train": run, "time": measure}[what](Task.read(file))
    return 0


def run(task: Task) -> None:
    recipe = RECIPES[task.options["recipe"]]
    torch.manual_seed(task.seed)
    random.seed(task.seed)
    np.random.seed(task.seed)
    photographs, test = (Photographs.read(part, task.images) for part in (task.train, task.test))
    model = build(task.options["model"], photographs.class_names, task.weights)
    model = model.to(memory_format=torch.channels_last)  # the scripts leave it, and it is faster on a CPU
    clock = train(model, TrainingSet(photographs, recipe.augmentation), recipe, task)
    detections = []
    for snapshot in clock.snapshots:
        model.load_state_dict(snapshot.weights)
        detections.append(detect(model, test))
    torch.save(model.state_dict(), Path(task.folder) / MODEL)
    write_history(
        Path(task.folder),
        clock.snapshots,
        detections,
        versions=versions(),
        parameters=sum(p.numel() for p in model.parameters()),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
