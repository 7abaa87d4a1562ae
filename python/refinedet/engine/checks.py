"""What is known to be wrong with a run before its data is read."""

from __future__ import annotations

import copy
import dataclasses
import difflib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data import TrainPipeline
from ..detectors import Detector
from ..folders import check_folder
from ..registry import check_options, model_entry
from ..usage import UsageError
from .config import RunConfig, TrainConfig
from .data import augment_options
from .freeze import freeze_statistics
from .processes import find_processes, share_of_batch

GPU = ("gpu", "cuda")
FROM_THE_MODEL = ("size", "mean", "std", "order")  # arguments of the pipeline that are no options


def check_run(config: RunConfig) -> None:
    """ValueError or OSError for what this machine does not have, for a batch that its processes cannot share, and for
    an output folder that cannot be written; UsageError for a model that there is not, and for options of the model or
    of the augmentation that there are not or that are out of range."""
    check_machine(config.train)
    share_of_batch(config.data.batch_size, find_processes(config.train).total)
    check_augmentation(config.data.augment)
    if config.model.weights is None or config.model.name is not None:
        check_model_options(config.model.registered, config.model.options)
    if config.output is not None:
        check_folder(config.output)


def check_model_options(name: str, options: dict[str, Any]) -> None:
    """UsageError for a model or an option that there is not, and for a value that the option does not take."""
    try:
        model_entry(name)
    except ValueError as error:
        raise UsageError(f"model.{error}") from None
    try:
        check_options(name, options)
    except ValueError as error:
        raise UsageError(f"model.options: {error}") from None


def check_machine(settings: TrainConfig) -> None:
    """ValueError for a GPU where there is none, for more GPUs than there are, and for a precision that it lacks."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if settings.accelerator in GPU and not gpus:
        reason = "torch sees no GPU here" if torch.version.cuda else "the torch installed here is built without CUDA"
        raise ValueError(f"train.accelerator: expected cpu or auto, as {reason}, got {settings.accelerator}")
    on_gpu = settings.accelerator != "cpu" and gpus > 0
    if on_gpu and isinstance(settings.devices, int) and settings.devices > gpus:
        raise ValueError(f"train.devices: expected at most {gpus}, the GPUs of this machine, got {settings.devices}")
    if settings.precision == "16" and not on_gpu:
        raise ValueError("train.precision: expected 32, bf16 or auto on a CPU, which does not train in float16, got 16")


def check_augmentation(options: dict[str, Any]) -> None:
    """UsageError for options of `TrainPipeline` that there are not, or whose values it does not take."""
    known = [f.name for f in dataclasses.fields(TrainPipeline) if f.init and f.name not in FROM_THE_MODEL]
    for option in options:
        if option not in known:
            close = difflib.get_close_matches(str(option), known, n=3)
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
            raise UsageError(f"data.augment.{option}: no such option; {hint}")
    try:
        TrainPipeline(64, **augment_options(options))
    except ValueError as error:
        raise UsageError(f"data.augment.{error}") from None


def check_batch_size(model: Detector, share: int, frozen: Sequence[str] = ()) -> None:
    """ValueError where a batch norm that learns would see one value alone of each channel, the mean of which it is.

    share: images of a batch that each process sees. frozen: names of modules whose batch norms do not learn.
    """
    if share > 1:
        return

    side = model.config.input_size

    def refuse(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if module.training and inputs[0].numel() == inputs[0].shape[1]:
                raise ValueError(
                    f"data.batch_size: expected 2 or more for each process, as the batch norm {name} sees but one "
                    f"value of each channel in a single image of {side} pixels, got {share}"
                )

        return look

    trial = copy.deepcopy(model).to("meta").train()
    freeze_statistics(trial, frozen)
    for name, module in trial.named_modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_pre_hook(refuse(name))
    with torch.no_grad():
        trial(torch.empty(1, 3, side, side, device="meta"))
