"""The main job in one call, `refinedet demo`: render a data set, train on it, evaluate, draw."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

from ..data import COCODetection
from ..data.image_io import write_image
from ..data.synthetic import render_dataset
from ..evaluation import format_table
from ..folders import check_folder, make_folder, numbered
from ..predictor import Predictor
from ..visualize import draw_detections, draw_grid
from ..weights import load_model
from .checkpoints import FILE
from .config import DataConfig, EvalConfig, ModelConfig, OptimConfig, RunConfig, SplitConfig, TrainConfig
from .evaluate import RESULTS, evaluate
from .stopping import Interrupted
from .train import train

PICTURES, EPOCHS = 1200, 7  # fresh images teach more than the same ones, strongly augmented, seen more often
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
            augment={"max_expand": 1.2, "crop_probability": 0.3},
        ),
        optim=OptimConfig(
            optimizer="adamw", lr=0.003, schedule="cosine", final_factor=0.01, warmup_iterations=50, bias_lr_factor=1.0
        ),
        train=TrainConfig(
            epochs=epochs, seed=seed, precision="auto", clip_norm=20.0, ema=0.99, eval_every=max(1, epochs // 3)
        ),
        evaluation=EvalConfig(kind="coco"),
        output=str(output),
    )


def demo(
    output: str | Path | None = None,
    *,
    train_pictures: int = PICTURES,
    test_pictures: int = 100,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> dict[str, Any]:
    """Render, train, evaluate, draw; returns the metrics of the held-out images.

    output: a folder with nothing in it, or the one of a demo with the same arguments that was interrupted, which is
    then brought to its end; None takes runs/demo, or runs/demo-2 and so on where that is in use. It gets `data/` (COCO
    format), `run/` (see `train`), `metrics.json`, `table.txt`, `detections.json`, `precision_recall.png` and
    `pictures/`.

    ValueError for a folder that holds anything else; Interrupted after SIGINT or SIGTERM.
    """
    started = time.monotonic()
    arguments = {
        "train_pictures": train_pictures,
        "test_pictures": test_pictures,
        "epochs": epochs,
        "seed": seed,
    }
    folder = _folder(output, arguments)
    make_folder(folder)
    _write_state(folder, arguments, finished=False)
    data, run = folder / "data", folder / "run"
    if not data.exists():
        print(f"rendering {train_pictures} + {test_pictures} images into {data}", flush=True)
        partial = folder / "data.part"
        shutil.rmtree(partial, ignore_errors=True)  # of a demo that was interrupted here
        render_dataset(partial, train=train_pictures, test=test_pictures, seed=seed)
        partial.rename(data)
    config = demo_config(data, run, epochs=epochs, seed=seed)
    if (run / "checkpoints" / FILE).exists():
        print(f"going on with {run}", flush=True)
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, resume=str(run)))
    try:
        result = train(config)
    except Interrupted as error:
        again = "".join(f" --{name} {value}" for name, value in arguments.items() if value != DEFAULTS[name])
        message = f"interrupted; to go on: refinedet demo --output {folder}{again}"
        raise Interrupted(error.signum, message) from None

    checkpoint = load_model(result.last)
    test_set = COCODetection(data / "test", data / "annotations/test.json")
    _remove_results(folder)
    metrics = evaluate(
        checkpoint.model,
        test_set,
        output=folder,
        extra={"model": result.model, "seconds": round(time.monotonic() - started, 1)},
    )
    draw_images(Predictor(checkpoint.model, checkpoint.class_names), test_set, folder / "pictures")
    _write_state(folder, arguments, finished=True)
    print("\nheld-out images:\n" + format_table(metrics))
    print(
        f"\n{folder}/: metrics.json, table.txt, precision_recall.png, pictures/, run/curves.png\n"
        f"try: refinedet predict --weights {result.last} --output {folder}/predict {folder}/data/test",
        flush=True,
    )
    return metrics


DEFAULTS = {"train_pictures": PICTURES, "test_pictures": 100, "epochs": EPOCHS, "seed": 0}
STATE = "demo.json"


def _folder(output: str | Path | None, arguments: dict[str, int]) -> Path:
    """Where the demo goes, see `demo`."""
    if output is not None:
        folder = Path(output).expanduser()
        check_folder(folder)
        if not _usable(folder, arguments):
            raise ValueError(
                f"output: expected an empty folder, or that of an interrupted demo with the same arguments, {folder} "
                "is neither"
            )
        return folder
    for folder in numbered("runs/demo"):
        if _usable(folder, arguments):
            return folder
    raise AssertionError  # the numbers do not end


def _usable(folder: Path, arguments: dict[str, int]) -> bool:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return True
    state = folder / STATE
    return state.is_file() and json.loads(state.read_text(encoding="utf-8")) == {**arguments, "finished": False}


def _write_state(folder: Path, arguments: dict[str, int], *, finished: bool) -> None:
    (folder / STATE).write_text(json.dumps({**arguments, "finished": finished}) + "\n", encoding="utf-8")


def _remove_results(folder: Path) -> None:
    """Those of a demo that was interrupted while it wrote them."""
    for name in RESULTS:
        (folder / name).unlink(missing_ok=True)


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
        write_image(path, drawn)
        paths.append(path)
        found_tiles.append(drawn)
        truth_tiles.append(truth)
    sheet = folder / "sheet.png"
    write_image(sheet, draw_grid(found_tiles, beside=truth_tiles, columns=2))
    return [*paths, sheet]
