"""Whether each detector can learn eight photographs by heart, and how far: the check of loss, matching and decoding.

    python -m benchmarks.overfit --data path/to/bccd [--models refinedet320_small ...] [--output runs/overfit]

The first eight photographs of the training split, shown as they are (no augmentation), and the AP50 on those same
eight; below 0.95 the run fails. Each detector goes through the engine, as `refinedet train` does it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from refinedet.engine import (
    DataConfig,
    EvalConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    SplitConfig,
    TrainConfig,
)
from refinedet.engine.train import train

IMAGES = 8
WANTED_AP50 = 95.0
CLASSES = ["WBC", "RBC", "Platelets"]
NO_AUGMENTATION: dict[str, Any] = {
    "distort_probability": 0.0,
    "expand_probability": 0.0,
    "crop_probability": 0.0,
    "flip_probability": 0.0,
    "interpolations": ["linear"],
}
# objects of 17 to 130 pixels of the input: below what RefineDetLite's anchors, made for COCO, start from
LITE: dict[str, Any] = {
    "anchor_sizes": [24, 48, 96, 192],
    "anchor_max_sizes": [48, 96, 192, 320],
    "head_std": 0.01,
}
MODELS: dict[str, dict[str, Any]] = {
    "refinedet320_small": {},
    "efgrnet320_small": {},
    "refinedetlite320_res2netlite72": LITE,
    "padet320_small": {},
}


def few_photographs(data: Path, folder: Path, count: int) -> Path:
    """A data set in VOC layout of the first `count` images of the training split, by links to them."""
    names = (data / "ImageSets/Main/train.txt").read_text().split()[:count]
    (folder / "ImageSets/Main").mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets/Main/few.txt").write_text("\n".join(names) + "\n")
    for part in ("Annotations", "JPEGImages"):
        link = folder / part
        if not link.is_symlink():
            link.symlink_to((data / part).resolve())
    return folder


def overfit_config(name: str, options: dict[str, Any], data: Path, output: Path, iterations: int) -> RunConfig:
    """Every step sees all photographs."""
    return RunConfig(
        model=ModelConfig(name=name, options=options),
        data=DataConfig(
            format="voc",
            root=str(data),
            classes=CLASSES,
            train=SplitConfig(split="few"),
            val=SplitConfig(split="few"),
            batch_size=IMAGES,
            workers=0,
            cache_images=True,
            augment=NO_AUGMENTATION,
        ),
        optim=OptimConfig(
            optimizer="adamw", lr=0.002, schedule="cosine", final_factor=0.01, warmup_iterations=20, bias_lr_factor=1.0
        ),
        train=TrainConfig(epochs=iterations, precision="auto", clip_norm=20.0, eval_every=max(1, iterations // 4)),
        evaluation=EvalConfig(kind="coco"),
        output=str(output),
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="BCCD, in VOC layout")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS), metavar="NAME")
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("runs/overfit"))
    chosen = parser.parse_args(arguments)
    data = few_photographs(chosen.data, chosen.output / "data", IMAGES)
    rows = {}
    for name in chosen.models:
        started = time.monotonic()
        config = overfit_config(name, MODELS[name], data, chosen.output / name, chosen.iterations)
        metrics = train(config).metrics
        rows[name] = {
            "AP50": 100 * metrics["AP50"],
            "AP": 100 * metrics["AP"],
            "iterations": chosen.iterations,
            "seconds": round(time.monotonic() - started),
        }
    (chosen.output / "overfit.json").write_text(json.dumps(rows, indent=2) + "\n")
    print("\n| model | AP50 | AP | iterations | seconds |\n|---|---|---|---|---|")
    for name, row in rows.items():
        print(f"| `{name}` | {row['AP50']:.1f} | {row['AP']:.1f} | {row['iterations']} | {row['seconds']} |")
    return 0 if all(row["AP50"] >= WANTED_AP50 for row in rows.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
