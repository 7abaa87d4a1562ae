"""Trains ultralytics' YOLO from random weights by its defaults, for a given time: `... .yolo train TASK.json`;
or times it: `... .yolo time TASK.json`."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
import ultralytics
from ultralytics import YOLO
from ultralytics.engine import trainer as engine
from ultralytics.models.yolo.detect import DetectionTrainer

from .clock import TrainingClock
from .task import Photographs, Task, results_of, write_history
from .timing import THRESHOLD, Detect, Found, exported, time_all
from .yolo_layout import write_layout

MODEL = "model.pt"
SIDE, STRIDE = 320, 32  # of the longer side of a photograph; what both sides are filled up to a multiple of
GREY = 114  # with which they are filled
LIKE_VALIDATION = {"conf": 0.001, "iou": 0.7, "max_det": 300}  # ultralytics' own settings for measuring


class TimedTrainer(DetectionTrainer):
    """ultralytics' trainer by the clock of this study, without a validation before the end.

    `time` is its own way of training for so long: it counts epochs, and plans anew after each of them. What it counts
    by is the clock, which leaves out start-up.
    """

    def __init__(self, data: Path, task: Task) -> None:
        self.clock = TrainingClock(task.seconds, task.points)
        self.images = 0
        super().__init__(
            overrides={
                "model": task.options["model"],
                "data": str(data),
                "time": task.seconds / 3600,
                "imgsz": SIDE,
                "seed": task.seed,
                "device": "cpu",
                "project": task.folder,
                "name": "ultralytics",
                "exist_ok": True,
                "val": False,
                "save": False,
                "plots": False,
                **task.options.get("overrides", {}),
            }
        )
        engine.time = SimpleNamespace(time=lambda: self.clock.seconds)
        self.add_callback("on_train_start", lambda _: self.clock.start())
        self.add_callback("on_train_batch_end", lambda _: self.note_step())
        self.add_callback("on_train_epoch_end", lambda _: self.stop and self.clock.finish(self.weights))

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.images = len(batch["img"])
        return super().preprocess_batch(batch)

    def note_step(self) -> None:
        self.stop |= self.clock.after_step(self.images, self.weights)

    def weights(self) -> dict[str, Any]:
        return copy.deepcopy(self.ema.ema.state_dict())


def detect(model: Any, file: str, photographs: Photographs) -> list[dict[str, Any]]:
    """COCO result entries of a network, by ultralytics' prediction. file: of the architecture."""
    yolo = YOLO(file)
    yolo.model = copy.deepcopy(model)  # prediction fuses its layers
    found = []
    for item in photographs.items:
        (one,) = yolo.predict(str(item.path), imgsz=SIDE, device="cpu", verbose=False, **LIKE_VALIDATION)
        boxes = one.boxes
        labels = [1 + int(label) for label in boxes.cls]
        found += results_of(item, boxes.xyxy.tolist(), boxes.conf.tolist(), labels, photographs.category_ids)
    return found


def run(task: Task) -> None:
    folder = Path(task.folder)
    parts = {part: Photographs.read(path, task.images) for part, path in (("train", task.train), ("val", task.val))}
    trainer = TimedTrainer(write_layout(folder / "data", parts), task)
    trainer.train()
    trainer.clock.finish(trainer.weights)
    test = Photographs.read(task.test, task.images)
    model = trainer.ema.ema
    detections = []
    for snapshot in trainer.clock.snapshots:
        model.load_state_dict(snapshot.weights)
        detections.append(detect(model, task.options["model"], test))
    yolo = YOLO(task.options["model"])
    yolo.model = model
    yolo.save(folder / MODEL)
    write_history(
        folder,
        trainer.clock.snapshots,
        detections,
        versions=versions(),
        parameters=sum(p.numel() for p in model.parameters()),
        optimizer=trainer.args.optimizer,
    )


def measure(task: Task) -> None:
    """Times the trained network as ultralytics exports it, its suppression in the graph, for one size of photograph."""
    yolo = YOLO(Path(task.folder) / MODEL)
    item = Photographs.read(task.test, task.images).items[0]
    scale = SIDE / max(item.height, item.width)
    size = [math.ceil(side * scale / STRIDE) * STRIDE for side in (item.height, item.width)]
    file = Path(yolo.export(format="onnx", imgsz=size, nms=True, conf=THRESHOLD, iou=LIKE_VALIDATION["iou"]))

    def in_torch(pixels: np.ndarray) -> Found:
        settings = {**LIKE_VALIDATION, "conf": THRESHOLD}
        (one,) = yolo.predict(pixels[:, :, ::-1], imgsz=SIDE, device="cpu", verbose=False, **settings)
        return Found(one.boxes.xyxy.numpy(), one.boxes.conf.numpy(), 1 + one.boxes.cls.numpy().astype(np.int64))

    def wrap(network: Callable[[np.ndarray], list[np.ndarray]]) -> Detect:
        def detect(pixels: np.ndarray) -> Found:
            pad = [side - round(given * scale) for side, given in zip(size, pixels.shape, strict=False)]
            small = cv2.resize(pixels, (size[1] - pad[1], size[0] - pad[0]), interpolation=cv2.INTER_LINEAR)
            top, left = pad[0] // 2, pad[1] // 2
            around = (top, pad[0] - top, left, pad[1] - left)
            small = cv2.copyMakeBorder(small, *around, cv2.BORDER_CONSTANT, value=(GREY,) * 3)
            rows = network(np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32) / np.float32(255))[0][0]
            rows = rows[rows[:, 4] > THRESHOLD]
            boxes = (rows[:, :4] - (left, top, left, top)) / scale
            return Found(boxes, rows[:, 4], 1 + rows[:, 5].astype(np.int64))

        return detect

    time_all(task, {"torch": lambda: in_torch, **exported(file, wrap)}, versions())


def versions() -> dict[str, str]:
    return {"torch": torch.__version__, "ultralytics": ultralytics.__version__}


def main(arguments: list[str]) -> int:
    what, file = arguments
    torch.set_num_threads(1)
    {"train": run, "time": measure}[what](Task.read(file))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
