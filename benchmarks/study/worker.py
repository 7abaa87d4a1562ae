"""One training of a study, in a process of its own.

    python -m benchmarks.study.worker FOLDER

FOLDER/run.json says what to train and under which suppressions to measure the result; FOLDER/result.json, written last,
has what came out. A run that was cut goes on from its last checkpoint.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from refinedet.engine.config import (
    DataConfig,
    EvalConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    SplitConfig,
    TrainConfig,
)
from refinedet.engine.evaluate import evaluate_file
from refinedet.engine.stopping import Interrupted
from refinedet.engine.train import train

from .runs import METRICS, write_json

FEWEST = 10  # steps whose times say something


class StepTimes(pl.Callback):
    """The seconds of every training step: network, loss, backward, update; not the loading of images."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begun = 0.0

    def on_train_batch_start(self, *_: Any) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        self.seconds.append(time.perf_counter() - self._begun)


def config_of(tree: dict[str, Any], output: Path) -> RunConfig:
    """The run that run.json describes, with the names of the YAML files."""
    data = dict(tree["data"])
    for name in ("train", "val"):
        data[name] = SplitConfig(**data[name])
    return RunConfig(
        model=ModelConfig(**tree["model"]),
        data=DataConfig(**data),
        optim=OptimConfig(**tree["optim"]),
        train=TrainConfig(**tree["train"]),
        evaluation=EvalConfig(**tree["evaluation"]),
        output=str(output),
    )


def main(folder: Path) -> int:
    torch.set_num_threads(1)
    wanted = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    run = folder / "run"
    config = config_of(wanted["config"], run)
    checkpoint = run / "checkpoints/last.ckpt"
    if checkpoint.exists():
        print(f"going on with {checkpoint}", flush=True)
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, resume=str(checkpoint)))
    elif run.exists():
        raise SystemExit(f"{run}: expected nothing, or a run that was interrupted, there is no checkpoint")
    times = StepTimes()
    try:
        result = train(config, callbacks=[times])
    except Interrupted as error:
        return 128 + error.signum
    measured = {"": {name: result.metrics[name] for name in METRICS}}
    for nms in wanted["suppressions"]:
        found = evaluate_file(result.last, config.data, split="val", nms=nms)
        measured[nms] = {name: found[name] for name in METRICS}
    seconds = statistics.median(times.seconds) if len(times.seconds) >= FEWEST else None
    write_json(folder / "result.json", {"run": wanted, "metrics": measured, "step_seconds": seconds})
    return 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
