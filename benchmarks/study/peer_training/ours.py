"""Trains a detector of this package by its recipe for one's own data, for a given time: `... .ours train TASK.json`;
or times it: `... .ours time TASK.json`."""

from __future__ import annotations

import copy
import dataclasses
import sys
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
import yaml

import refinedet_ext
from refinedet import Predictor
from refinedet.data import COCODetection
from refinedet.engine.base_module import TrainedModule
from refinedet.engine.config import DataConfig, ModelConfig, OptimConfig, RunConfig, SplitConfig, TrainConfig
from refinedet.engine.ema import WeightAverage
from refinedet.engine.evaluate import DETECTIONS, evaluate
from refinedet.engine.setup import set_up
from refinedet.engine.start import with_precision
from refinedet.engine.trainer import build_loggers, build_trainer, quiet
from refinedet.evaluation.results import read_results
from refinedet.weights import save_model

from .clock import TrainingClock
from .task import Task, write_history
from .timing import THRESHOLD, Detect, Found, time_all

MODEL = "model.safetensors"
RECIPE = "own_data.yaml"


class Timekeeper(pl.Callback):
    """Ends a run by the study's clock."""

    def __init__(self, clock: TrainingClock) -> None:
        self.clock = clock

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.clock.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        module = cast(TrainedModule, pl_module)
        trainer.should_stop |= self.clock.after_step(len(batch), lambda: copy.deepcopy(module.evaluated().state_dict()))


def run_config(task: Task) -> RunConfig:
    """A recipe of this package, that for one's own data if no other is named, on one thread, without a validation.

    task.options: the `recipe`, the model's name, its `options` beside those of the recipe, and `augment`, too.
    """
    file = resources.files("refinedet") / "configs" / task.options.get("recipe", RECIPE)
    recipe: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    model, data = recipe["model"], recipe["data"]
    augment = {**data.get("augment", {}), **task.options.get("augment", {})}
    parts = {"train": task.train, "val": task.val, "test": task.test}
    equal: dict[str, Any] = {
        name: SplitConfig(image_dir=task.images, annotation_file=part) for name, part in parts.items()
    }
    equal |= {"format": "coco", "classes": "auto", "workers": 0}
    return with_precision(
        RunConfig(
            model=ModelConfig(
                name=task.options["model"],
                options={**model.get("options", {}), **task.options.get("options", {})},
                backbone_weights=task.weights,
            ),
            data=DataConfig(**{**data, **equal, "augment": augment}),
            optim=OptimConfig(**recipe["optim"]),
            train=TrainConfig(
                **{**recipe["train"], "epochs": None, "accelerator": "cpu", "seed": task.seed, "loggers": []}
            ),
            output=task.folder,
        )
    )


def run(task: Task) -> None:
    folder = Path(task.folder)
    config = run_config(task)
    with quiet():
        setup = set_up(config)
        clock = TrainingClock(task.seconds, task.points)
        setup.module.time_share = lambda: clock.share
        average = [] if config.train.ema is None else [WeightAverage(config.train.ema)]
        trainer = build_trainer(
            dataclasses.replace(config.train, eval_every=10**9),
            folder,
            callbacks=[*average, Timekeeper(clock)],
            loggers=build_loggers([], folder),
            steps=len(setup.train_set) // config.data.batch_size,
        )
        trainer.fit(setup.module, datamodule=setup.data)
    test = COCODetection(task.images, task.test, quiet=True)
    model = setup.module.evaluated()
    detections = []
    for number, snapshot in enumerate(clock.snapshots):
        model.load_state_dict(snapshot.weights)
        output = folder / f"evaluation-{number}"
        evaluate(model, test, output=output, workers=0)
        detections.append(read_results(output / DETECTIONS))
    save_model(model, folder / MODEL, class_names=setup.class_names)
    write_history(
        folder,
        clock.snapshots,
        detections,
        versions=versions(),
        parameters=sum(p.numel() for p in model.parameters()),
        precision=config.train.precision,
    )


RUNTIMES: dict[str, dict[str, str]] = {
    "torch": {"runtime": "torch", "optimize": "float32"},
    "onnxruntime": {"runtime": "onnxruntime"},
    "openvino": {"runtime": "openvino"},
    "openvino bfloat16": {"runtime": "openvino", "optimize": "bfloat16"},
}
"""What `runtime="auto"` chooses from, as `Predictor.from_file` takes them."""


def measure(task: Task) -> None:
    """Times the trained detector in every runtime."""

    def opened(settings: dict[str, str]) -> Detect:
        predictor = Predictor.from_file(
            Path(task.folder) / MODEL,
            threads=1,
            batch_size=1,
            color="rgb",
            nms={"preset": "coco", "score_threshold": THRESHOLD, "min_score": THRESHOLD},
            **settings,  # type: ignore[arg-type]
        )

        def detect(pixels: np.ndarray) -> Found:
            one = predictor(pixels, score_threshold=THRESHOLD)
            return Found(one.boxes, one.scores, one.labels)

        return detect

    time_all(task, {name: partial(opened, settings) for name, settings in RUNTIMES.items()}, versions())


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "refinedet-ext": refinedet_ext.__version__}


def main(arguments: list[str]) -> int:
    what, file = arguments
    torch.set_num_threads(1)
    {"train": run, "time": measure}[what](Task.read(file))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
