"""The configuration of a run as options of `refinedet eval`, `refinedet analyse` and `refinedet data`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..usage import UsageError

RUN_ALONE = ("model", "optim", "train", "evaluation")
"""Sections that a run's configuration has, and the options of eval have not."""
FILES = {"best": "best.safetensors", "last": "last.safetensors"}
"""The model of a run by its evaluation.select."""
CONFIG = "config.yaml"


def is_run_config(content: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a run."""
    return any(name in content for name in RUN_ALONE)


def eval_options(content: Mapping[str, Any], file: Path, *, has_weights: bool) -> dict[str, Any]:
    """The options of eval that a run's configuration says: its data, its metrics, its suppression where it names one,
    and the model that it selected, the best or the last.

    file: the configuration; the model lies beside it, or in the folder that it calls its output. has_weights: the model
    is said elsewhere. UsageError if there is none.
    """
    options = {key: value for key, value in content.items() if key not in (*RUN_ALONE, "output")}
    evaluation = content.get("evaluation")
    if isinstance(evaluation, Mapping) and evaluation.get("kind") is not None:
        options["kind"] = evaluation["kind"]
    model = content.get("model")
    changed = model.get("options") if isinstance(model, Mapping) else None
    if isinstance(changed, Mapping) and changed.get("nms") is not None:
        options["nms"] = changed["nms"]
    if not has_weights and options.get("weights") is None:
        folders = [file.parent, Path(str(content.get("output") or "runs/train"))]
        select = evaluation.get("select") if isinstance(evaluation, Mapping) else None
        name = FILES.get(str(select or "best"))
        if name is None:
            raise UsageError(f"evaluation.select: expected best or last, got {select!r}")
        found = [folder / name for folder in folders if (folder / name).is_file()]
        if not found:
            looked = " or ".join(dict.fromkeys(str(folder) for folder in folders))
            raise UsageError(f"--weights: expected a model file, as there is no {name} of the run {file} in {looked}")
        options["weights"] = str(found[0])
    return options


def data_options(content: Mapping[str, Any]) -> dict[str, Any]:
    """The options of data that a run's configuration says: its data, and its model with the size of its input.

    UsageError for a run with anchors of its own, as the command knows those of the registry.
    """
    options = {key: value for key, value in content.items() if key not in (*RUN_ALONE, "output")}
    model = content.get("model")
    if not isinstance(model, Mapping):
        return options
    changed = model.get("options") if isinstance(model.get("options"), Mapping) else {}
    own = [name for name in changed or {} if str(name).startswith("anchor_")]
    if own:
        raise UsageError(f"model.options.{own[0]}: expected none, as refinedet data knows the registry's anchors alone")
    size = (changed or {}).get("input_size")
    found = {"model": model.get("name"), "input_size": size}
    return {**options, **{name: value for name, value in found.items() if value is not None}}


def analysis_options(run: str) -> list[str]:
    """What the folder of an evaluation or of a training says, as words of `refinedet analyse`.

    An evaluation left its detections, and names the model, beside which the run's configuration lies that says the
    data. A training left a configuration and its model. UsageError for another folder.
    """
    folder = Path(run).expanduser()
    detections, config = folder / "detections.json", folder / CONFIG
    if detections.is_file():
        words = [f"--detections={detections}"]
        metrics = _read_metrics(folder / "metrics.json")
        if metrics.get("split") is not None:
            words.append(f"--split={metrics['split']}")
        if metrics.get("weights") is not None:
            config = Path(str(metrics["weights"])).parent / CONFIG
        return [*words, *([f"--config={config}"] if config.is_file() else [])]
    if config.is_file() and any((folder / name).is_file() for name in FILES.values()):
        return [f"--config={config}"]
    models = " or ".join(FILES.values())
    raise UsageError(
        f"run: expected the folder of an evaluation (detections.json) or of a training ({CONFIG} and {models}), "
        f"got {run}"
    )


def _read_metrics(file: Path) -> dict[str, Any]:
    """The content of an evaluation's metrics.json; empty without one."""
    if not file.is_file():
        return {}
    try:
        metrics = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"run: {file} is not JSON: {error}") from None
    if not isinstance(metrics, dict):
        raise UsageError(f"run: expected keys and values in {file}, got {type(metrics).__name__}")
    return metrics
