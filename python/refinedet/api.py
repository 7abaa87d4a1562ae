"""Training and evaluation in one call, as the command line has them: `refinedet.train`, `refinedet.evaluate`."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .config_files import load_config, merge, starting_point
from .engine.config import DataConfig, RunConfig

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from lightning.pytorch.loggers import Logger

    from .engine.train import TrainResult

PathLike = str | os.PathLike[str]


def train(
    root: PathLike | None = None,
    *,
    config: RunConfig | PathLike | None = None,
    model: str | Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    optim: Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    output: PathLike | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> TrainResult:
    """Train a detector: `refinedet train` from Python, with the same options, defaults and checks. ::

        result = refinedet.train("path/to/cells", model="refinedet320_small", train={"epochs": 20}, output="runs/cells")

    Args:
        root: folder of the data set, the option data.root.
        config: what the options change: a file, the name of a shipped configuration, or a `RunConfig`; None is the
            recipe own_data, without its model where the options ask for one.
        model: the options of the section model, or its name alone.
        data: those of the section data, such as {"batch_size": 16, "augment": {"max_expand": 2.0}}.
        optim: those of the section optim.
        train: those of the section train.
        evaluation: those of the section evaluation.
        output: folder for the model files, checkpoints, logs, metrics and images.
        callbacks: Lightning's, beside the run's own.
        loggers: Lightning's, beside the run's own.

    Returns:
        What the run left, see `TrainResult`, with the best and the last model's files, and metrics.

    Raises:
        ValueError, OSError: before anything is trained or written, naming an option that there is not or that is out of
            range.
    """
    from .engine.train import train as run

    sections: dict[str, Any] = {
        "model": {"name": model} if isinstance(model, str) else model,
        "data": data if root is None else {**(data or {}), "root": root},
        "optim": optim,
        "train": train,
        "evaluation": evaluation,
        "output": output,
    }
    if root is not None and "root" in (data or {}):
        raise ValueError(f"root, data: expected data.root once, got {root} and {(data or {})['root']}")
    given = {name: value for name, value in sections.items() if value is not None}
    more: dict[str, Any] = {}
    if callbacks:
        more["callbacks"] = callbacks
    if loggers:
        more["loggers"] = loggers
    changes = _plain(given)
    start = starting_point(changes) if config is None else config
    return run(run_config(start, changes), **more)


def evaluate(
    weights: PathLike,
    root: PathLike | None = None,
    *,
    data: DataConfig | Mapping[str, Any] | None = None,
    split: Literal["train", "val", "test"] = "test",
    kind: Literal["coco", "voc07", "voc12"] = "coco",
    output: PathLike | None = None,
    device: str = "cpu",
    input_size: int | None = None,
    nms: str | Mapping[str, Any] | None = None,
    multi_scale: str | None = None,
    optimize: Literal["off", "auto", "float32", "bfloat16"] = "off",
    competition: Literal["comp3", "comp4"] | None = None,
    runtime: Literal["torch", "onnxruntime", "openvino", "auto"] | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Measure a trained detector on a data set: `refinedet eval` from Python. ::

        metrics = refinedet.evaluate("runs/cells/best.safetensors", "path/to/cells")

    Args:
        weights: a model file that training wrote.
        root: folder of the data set, the option data.root.
        data: further options of the section data.
        split: which part of the data set; "test" falls back on val where there is none.
        kind: COCO metrics, or VOC's 11-point (voc07) or area (voc12) mAP.
        output: folder for metrics.json, table.txt, detections.json and precision_recall.png, or detections.json alone
            where the data has no annotations; None writes nothing.
        device: where to run, such as cpu or cuda.
        input_size: side in pixels that images are resized to; None is the model's own.
        nms: suppression preset, or a mapping with what differs from one; None is the model's own.
        multi_scale: a recipe of `refinedet.inference`: several scales with flips and box voting.
        optimize: run a copy of the network that is rewritten for the CPU, in this precision.
        competition: write VOC's result files, too, see `refinedet.evaluation.voc_result_files`.
        runtime: what runs the network, as for `Predictor.from_file`.
        threads: of the network; None is the runtime's own choice.

    Returns:
        The metrics by name, as fractions, and "per_class"; for data without annotations the numbers of "images",
        "detections" and "unreadable" images.

    Raises:
        ValueError, OSError: naming what is wrong.
    """
    from .engine.evaluate import evaluate_file

    if root is not None:
        if isinstance(data, DataConfig) or "root" in (data or {}):
            raise ValueError("root, data: expected data.root once, got both")
        data = {**(data or {}), "root": root}
    settings = data if isinstance(data, DataConfig) else run_config(None, {"data": data or {}}).data
    return evaluate_file(
        weights,
        settings,
        split=split,
        kind=kind,
        output=output,
        device=device,
        input_size=input_size,
        nms=nms,
        multi_scale=multi_scale,
        optimize=optimize,
        competition=competition,
        runtime=runtime,
        threads=threads,
    )


def run_config(config: RunConfig | Mapping[str, Any] | PathLike | None, changes: Mapping[str, Any]) -> RunConfig:
    """A run's configuration with changes, each by the section and the name that the command line has for it."""
    from .cli.parser import resolve_run

    if isinstance(config, RunConfig):
        if not changes:
            return config
        content = dataclasses.asdict(config)
    else:
        content = load_config(os.fspath(config)) if isinstance(config, (str, os.PathLike)) else dict(config or {})
    return resolve_run(merge(content, _plain(changes)))


def _plain(value: Any) -> Any:
    """Paths as strings, as YAML has them."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return os.fspath(value) if isinstance(value, os.PathLike) else value
