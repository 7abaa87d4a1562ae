"""The main job in one call, `refinedet demo`: render a data set, train on it, evaluate, draw."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2

from ..data import COCODetection
from ..data.synthetic import render_dataset
from ..evaluation import format_table
from ..predictor import Predictor
from ..visualize import draw_detections, draw_grid
from ..weights import load_model
from .config import DataConfig, EvalConfig, ModelConfig, OptimConfig, RunConfig, SplitConfig, TrainConfig
from .evaluate import evaluate
from .train import train

DRAWN = 12
SHOWN_FROM = 0.5  # score from which a detection is drawn


def demo_config(data: Path, output: Path, *, epochs: int, seed: int) -> RunConfig:
    """A small detector from scratch, with the loss, the rules and the augmentation of the large ones."""
    return RunConfig(
        model=ModelConfig(name="refinedet256_small"),
        data=DataConfig(
            format="coco",
            root=str(data),
            train=SplitConfig(image_dir="train", annotation_file="annotations/train.json"),
            val=SplitConfig(image_dir="test", annotation_file="annotations/test.json"),
            batch_size=8,
            workers=1,
            cache_images=True,
            augment={"max_expand": 2.0},  # a fourth of the size would leave a few pixels of the smallest shapes
        ),
        optim=OptimConfig(
            optimizer="adamw", lr=0.002, schedule="cosine", final_factor=0.01, warmup_iterations=50, bias_lr_factor=1.0
        ),
        train=TrainConfig(epochs=epochs, seed=seed, precision="auto", clip_norm=20.0, eval_every=max(1, epochs // 3)),
        evaluation=EvalConfig(kind="coco"),
        output=str(output),
    )


def demo(
    output: str | Path = "runs/demo",
    *,
    train_pictures: int = 400,
    test_pictures: int = 100,
    epochs: int = 30,
    seed: int = 0,
) -> dict[str, Any]:
    """Render, train, evaluate, draw; returns the metrics of the held-out images.

    output: a folder that must not hold a run yet. It gets `data/` (COCO format), the training run's files (see
    `train`), `metrics.json`, `table.txt`, `detections.json`, `precision_recall.png`, `curves.png` and `pictures/`.
    """
    started = time.monotonic()
    folder = Path(output)
    if (folder / "checkpoints").exists():
        raise ValueError(f"output: {folder} holds a run already; remove it or give another folder")
    print(f"rendering {train_pictures} + {test_pictures} images into {folder / 'data'}", flush=True)
    render_dataset(folder / "data", train=train_pictures, test=test_pictures, seed=seed)
    result = train(demo_config(folder / "data", folder, epochs=epochs, seed=seed))

    checkpoint = load_model(result.last)
    test_set = COCODetection(folder / "data/test", folder / "data/annotations/test.json")
    metrics = evaluate(
        checkpoint.model,
        test_set,
        output=folder,
        extra={"model": result.model, "seconds": round(time.monotonic() - started, 1)},
    )
    draw_images(Predictor(checkpoint.model, checkpoint.class_names), test_set, folder / "pictures")
    print("\nheld-out images:\n" + format_table(metrics))
    print(
        f"\n{folder}/: metrics.json, table.txt, curves.png, precision_recall.png, pictures/, best.safetensors\n"
        f"try: refinedet predict --weights {result.best} --output {folder}/predict {folder}/data/test",
        flush=True,
    )
    return metrics


def draw_images(predictor: Predictor, dataset: COCODetection, folder: Path, count: int = DRAWN) -> list[Path]:
    """Detections on the first images of a data set, and one sheet of them beside the ground truth."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, found_tiles, truth_tiles = [], [], []
    for index in range(min(count, len(dataset))):
        sample = dataset[index]
        found = predictor(sample.image, score_threshold=SHOWN_FROM)
        drawn = draw_detections(sample.image, found.boxes, found.labels, found.scores, predictor.class_names)
        truth = draw_detections(sample.image, sample.boxes, sample.labels, None, predictor.class_names)
        path = folder / f"{Path(sample.path).stem}.png"
        cv2.imwrite(str(path), drawn)
        paths.append(path)
        found_tiles.append(drawn)
        truth_tiles.append(truth)
    sheet = folder / "sheet.png"
    cv2.imwrite(str(sheet), draw_grid(found_tiles, beside=truth_tiles, columns=2))
    return [*paths, sheet]
