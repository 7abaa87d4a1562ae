"""The configuration of a run as options of `refinedet eval`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .usage import UsageError

RUN_ALONE = ("model", "optim", "train", "evaluation")
"""Sections that a run's configuration has, and the options of eval have not."""
FILES = {"best": "best.safetensors", "last": "last.safetensors"}
"""The model of a run by its evaluation.select."""


def is_run_config(content: Mapping[str, Any]) -> bool:
    """Whether a configuration is that of a run."""
    return any(name in content for name in RUN_ALONE)


def eval_options(content: Mapping[str, Any], file: Path, *, has_weights: bool) -> dict[str, Any]:
    """The options of eval that a run's configuration says: its data, its metrics, and the model that it
    selected, the best or the last.

    file: the configuration; the model lies beside it, or in the folder that it calls its output. has_weights: the model
    is said elsewhere. UsageError if there is none.
    """
    options = {key: value for key, value in content.items() if key not in (*RUN_ALONE, "output")}
    evaluation = content.get("evaluation")
    if isinstance(evaluation, Mapping) and evaluation.get("kind") is not None:
        options["kind"] = evaluation["kind"]
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
