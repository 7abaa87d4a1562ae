"""What a run begins with: its settings made definite, and its model."""

from __future__ import annotations

import dataclasses
import logging

import torch

from refinedet_ext.machine import multiplies_bfloat16

from ..detectors import Detector
from ..fine_tuning import check_agrees, file_spec, start_from
from ..pretrained import backbone_options
from ..registry import create_model, model_entry
from ..transfer import VOC_IN_COCO
from .config import RunConfig, TrainConfig

logger = logging.getLogger(__name__)

SEEN = 20_000
"""Images, counted as often as they are seen, that a run of "auto" length aims at."""
FEWEST_EPOCHS, MOST_EPOCHS = 12, 300


def automatic_epochs(images: int) -> int:
    """Epochs for a data set of so many training images: about 20,000 images altogether, in 12 to 300 epochs."""
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(SEEN / images)))


def with_length(config: RunConfig, images: int) -> RunConfig:
    """The run with a number where its epochs are "auto"."""
    settings = config.train
    if settings.epochs != "auto":
        return config
    return dataclasses.replace(config, train=dataclasses.replace(settings, epochs=automatic_epochs(images)))


def with_precision(config: RunConfig) -> RunConfig:
    """The run with its precision settled, see `settled`."""
    return dataclasses.replace(config, train=settled(config.train))


def settled(settings: TrainConfig) -> TrainConfig:
    """The precision "auto" as what the device multiplies by itself; bfloat16 that a CPU emulates is logged."""
    if settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = multiplies_bfloat16()
    if settings.precision == "auto":
        return dataclasses.replace(settings, precision="bf16" if fast else "32")
    on_cpu = settings.accelerator == "cpu" or (settings.accelerator == "auto" and not torch.accelerator.is_available())
    if settings.precision == "bf16" and on_cpu and not fast:
        logger.warning("train.precision: this CPU has no instructions for bf16 and emulates it slowly; take 32 or auto")
    return settings


def with_model(config: RunConfig) -> RunConfig:
    """The run with its model's name where it has none: that of the file `model.weights`, or the default.

    ValueError if the name, or an option that belongs to the weights, contradicts the file.
    """
    weights, name = config.model.weights, config.model.registered
    if weights is not None:
        check_agrees(weights, config.model.name, config.model.options)
        header = file_spec(weights)
        name = name if header is None else header["model"]["name"]
    return dataclasses.replace(config, model=dataclasses.replace(config.model, name=name))


def with_backbone_options(config: RunConfig) -> RunConfig:
    """The run with the options that its backbone's weights expect, so that its config.yaml holds them, see
    `create_model`."""
    path = config.model.backbone_weights
    if path is None:
        return config
    options = backbone_options(path, model_entry(config.model.registered).options, config.model.options)
    return dataclasses.replace(config, model=dataclasses.replace(config.model, options=options))


def build_model(config: RunConfig, class_names: list[str]) -> Detector:
    """The model of a run: from the registry, or from the file that `model.weights` names."""
    num_classes = len(class_names) + 1
    if config.model.weights is None:
        return create_model(
            config.model.registered,
            num_classes,
            backbone_weights=config.model.backbone_weights,
            **config.model.options,
        )
    if config.model.backbone_weights is not None:
        raise ValueError("model.backbone_weights: model.weights brings those already; give one of the two")
    config = with_model(config)
    assert config.model.weights is not None
    same = config.model.subsample_classes
    start = start_from(
        config.model.weights,
        class_names,
        name=config.model.registered,
        options=config.model.options,
        strict=config.model.strict,
        same=VOC_IN_COCO if same == "voc_in_coco" else same,
    )
    expected = start.whole or (same is not None and not start.new and not start.left)
    logger.log(logging.INFO if expected else logging.WARNING, "model.weights: %s", start.describe())
    return start.model.train()
