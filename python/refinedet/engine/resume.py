"""Going on with a run: its checkpoint, and what may and may not have changed since."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import torch

from ..backbones.backbone_file import same_option
from .checkpoints import FILE, RUN
from .config import RunConfig

logger = logging.getLogger(__name__)

FIXED = (
    "data.batch_size",
    "optim.optimizer",
    "train.accumulate",
    "train.ema",
    "train.epochs",
    "train.freeze",
    "train.iterations",
    "train.multi_scale",
    "train.seed",
)
"""Settings without which the rest of a run would not be that of the same run."""
FREE = ("output", "train.resume", "train.save_minutes", "train.loggers", "data.workers", "data.root")
"""Settings that have no part in what comes out, and need no mention."""


def read_checkpoint(path: str) -> tuple[Path, dict[str, Any]]:
    """The file of a checkpoint, given by itself or by the folder of its run, and what it says about the run.

    FileNotFoundError without one; ValueError for a file that is damaged or something else.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "checkpoints" / FILE
    if not file.is_file():
        raise FileNotFoundError(f"train.resume: no file {file}")
    if file.suffix == ".safetensors":
        raise ValueError(
            f"train.resume: {file} is a model, for model.weights; a run goes on from its checkpoints/{FILE}"
        )
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = (str(error).splitlines() or [""])[0][:200]
        raise ValueError(f"train.resume: {file} is cut off or no checkpoint: {reason}") from None
    if not isinstance(content, dict) or RUN not in content:
        raise ValueError(f"train.resume: {file} was not written by refinedet train")
    return file, content[RUN]


def check_model(run: dict[str, Any], config: RunConfig) -> None:
    """ValueError if the config asks for another model than the run's."""
    name, options = run["model"]["name"], run["model"]["options"]
    if config.model.name not in (None, name):
        raise ValueError(f"model.name: expected {name}, as the run that is resumed has it, got {config.model.name}")
    for key, value in config.model.options.items():
        if key not in options or not same_option(options[key], value):
            raise ValueError(
                f"model.options.{key}: expected {options.get(key)!r}, as the run that is resumed has it, got {value!r}"
            )


def check_resumable(run: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What changed since the run began, one line each; ValueError for what must not.

    run, now: as `describe_run` gives it.
    """
    before, after = run["class_names"], now["class_names"]
    if before != after:
        what = "in another order" if sorted(before) == sorted(after) else "others"
        raise ValueError(f"data.classes: expected {before}, as the run that is resumed has them, got {what}: {after}")
    for key, what in (("images", "training images"), ("processes", "processes")):
        if run[key] != now[key]:
            raise ValueError(f"train.resume: the run had {run[key]} {what}, now there are {now[key]}")
    changed = []
    old, new = _flat(run["config"]), _flat(now["config"])
    for key in sorted(old.keys() | new.keys()):
        was, value = old.get(key), new.get(key)
        if was == value or key.startswith("model.") or key in FREE:
            continue
        if key in FIXED:
            raise ValueError(f"{key}: expected {was}, as the run that is resumed has it, got {value}")
        changed.append(f"{key}: {was} before, now {value}")
    return changed


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return found
