"""Going on with a run: its checkpoint, and what may and may not have changed since."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones.archive import check_intact
from ..backbones.backbone_file import same_option
from ..backbones.checkpoint import DAMAGED, check_fits, describe_damage
from ..checks import check_class_names
from ..model_options import present_options
from ..registry import check_options
from .checkpoints import FILE, RUN, TOTAL
from .config import ModelConfig, RunConfig

logger = logging.getLogger(__name__)

FIXED = (
    "data.batch_size",
    "evaluation.select",
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
MODEL = "model."
"""What Lightning puts before the names of the weights."""
FREE = ("output", "train.resume", "train.save_minutes", "train.loggers", "data.workers", "data.root")
"""Settings that have no part in what comes out, and need no mention."""


PARTS: dict[str, type] = {
    "epoch": int,
    "global_step": int,
    "state_dict": dict,
    "loops.fit_loop": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    f"{RUN}.model.name": str,
    f"{RUN}.model.options": dict,
    f"{RUN}.class_names": list,
    f"{RUN}.images": int,
    f"{RUN}.processes": int,
    f"{RUN}.config.model": dict,
    f"{RUN}.config.data.batch_size": int,
    f"{RUN}.evaluation_due": bool,
}
"""What every checkpoint holds."""


@dataclass(frozen=True)
class Resumed:
    """A checkpoint. run: what it says about its run, see `describe_run`. state: the weights, by their names in the
    model. loop: where the training loop stood."""

    file: Path
    run: dict[str, Any]
    state: dict[str, Tensor]
    loop: dict[str, Any]

    def check_weights(self, model: nn.Module) -> None:
        """ValueError unless the weights are those of such a model."""
        try:
            check_fits(model, self.state, model.state_dict(), source=str(self.file))
        except ValueError as error:
            raise ValueError(f"train.resume: {error}") from None

    def check_loop(self, fresh: Mapping[str, Any]) -> None:
        """ValueError unless what is said of the loop has all the parts of one that is new."""
        _check_alike(self.loop, fresh, f"train.resume: {self.file} is damaged: loops.fit_loop")


def _check_alike(given: Any, like: Any, where: str) -> None:
    if isinstance(like, Mapping):
        if not isinstance(given, Mapping):
            raise ValueError(f"{where}: expected keys and values, got {type(given).__name__}")
        for key, value in like.items():
            if key not in given:
                raise ValueError(f"{where}.{key}: missing")
            _check_alike(given[key], value, f"{where}.{key}")
    elif isinstance(like, int) and (not isinstance(given, type(like)) or given < 0):
        raise ValueError(f"{where}: expected {type(like).__name__} of at least 0, got {given!r:.80}")


def read_checkpoint(path: str, command: str = "train") -> Resumed:
    """A checkpoint of a run of that command, given by itself or by the folder of its run.

    FileNotFoundError without one; ValueError for a file that is damaged or something else, and for one whose parts were
    changed to what no run writes.
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
    check_intact(file, "train.resume")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except DAMAGED as error:
        raise ValueError(f"train.resume: {file} is cut off or no checkpoint: {describe_damage(error)}") from None
    if not isinstance(content, dict) or RUN not in content:
        raise ValueError(f"train.resume: {file} was not written by refinedet {command}")
    written_by = content[RUN].get("command", "train") if isinstance(content[RUN], dict) else command
    if written_by != command:
        raise ValueError(f"train.resume: expected a run of refinedet {command}, {file} is of refinedet {written_by}")
    for part, kind in PARTS.items():
        value: Any = content
        for key in part.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(
                f"train.resume: {file} is damaged: {part}: expected {kind.__name__}, got {type(value).__name__}"
            )
    run = content[RUN]
    try:
        check_class_names(run["class_names"], "class_names")
        run["model"]["options"] = present_options(run["model"]["options"])
        check_options(run["model"]["name"], run["model"]["options"])
        ModelConfig(**run["config"]["model"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"train.resume: {file} describes a run that cannot go on: {error}") from None
    state = content["state_dict"]
    wrong = [key for key, value in state.items() if not str(key).startswith(MODEL) or not isinstance(value, Tensor)]
    if wrong:
        raise ValueError(f"train.resume: {file} is damaged: state_dict: expected weights of a model, got {wrong[0]!r}")
    return Resumed(
        file, run, {key.removeprefix(MODEL): value for key, value in state.items()}, content["loops"]["fit_loop"]
    )


def check_model(run: dict[str, Any], wanted: str | None, changes: Mapping[str, Any]) -> None:
    """ValueError if another model than the run's is wanted, by name or by changes to its options.

    Class weights from the data have become numbers in the run; whether they are those of the data, the data says.
    """
    name, options = run["model"]["name"], run["model"]["options"]
    if wanted not in (None, name):
        raise ValueError(f"model.name: expected {name}, as the run that is resumed has it, got {wanted}")
    for key, value in changes.items():
        if key == "class_weights" and value == "data" and isinstance(options.get(key), list | tuple):
            continue
        if key not in options or not same_option(options[key], value):
            raise ValueError(
                f"model.options.{key}: expected {options.get(key)!r}, as the run that is resumed has it, got {value!r}"
            )


def counts_classes(options: Mapping[str, Any]) -> bool:
    """Whether a model's options ask for class weights from the data."""
    return options.get("class_weights") == "data"


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
    for key, value in _flat(dataclasses.asdict(RunConfig())).items():
        if key in new:  # a setting that the version before did not have stood at its default
            old.setdefault(key, value)
    if TOTAL not in run:
        old["data.batch_size"] *= run["processes"]
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
