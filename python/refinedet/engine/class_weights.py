"""Class weights of a run from the images that it trains on."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

from ..backbones.backbone_file import same_option
from ..data.dataset import DetectionDataset
from ..fine_tuning import file_spec
from ..losses import LossConfig, class_weights_from_counts, count_labels
from ..registry import model_entry
from .config import RunConfig

logger = logging.getLogger(__name__)


def with_class_weights(config: RunConfig, train_set: DetectionDataset) -> RunConfig:
    """The run with numbers where its model's option class_weights says "data"; any other run as it is.

    The numbers are equation 5 of RefineDetLite on the boxes of each class in the training set; they become options of
    the model, so that its file and the run's config.yaml hold them.
    """
    if config.model.weights is not None and "class_weights" not in config.model.options:  # the file's stay
        return config
    loss = _loss(config)
    if loss.class_weights != "data":
        return config
    counts = count_labels(train_set)
    weights = class_weights_from_counts(counts, largest=loss.class_weight_largest, gamma=loss.class_weight_gamma)
    for name, count, weight in zip(train_set.class_names, counts, weights, strict=True):
        logger.info("class weight %.3f: %s, %d boxes", weight, name, count)
    changed = {**config.model.options, "class_weights": [round(weight, 6) for weight in weights]}
    return dataclasses.replace(config, model=dataclasses.replace(config.model, options=changed))


def check_class_weights(config: RunConfig, run: Mapping[str, Any], train_set: DetectionDataset) -> None:
    """ValueError unless the training set gives the class weights of a run that is resumed with "data" again.

    run: as `describe_run` gives it, of the run, which has numbers.
    """
    options = run["model"]["options"]
    model = dataclasses.replace(config.model, options={**options, "class_weights": "data"}, weights=None)
    now = with_class_weights(dataclasses.replace(config, model=model), train_set).model.options["class_weights"]
    if not same_option(options["class_weights"], now):
        raise ValueError(
            f"model.options.class_weights: expected {options['class_weights']}, as the run that is resumed has it, got "
            f"{now} from the data"
        )


def _loss(config: RunConfig) -> LossConfig:
    """The rules of the loss, as far as they matter here; unknown options are `create_model`'s to report."""
    header = None if config.model.weights is None else file_spec(config.model.weights)
    options = config.model.options if header is None else {**header["model"]["options"], **config.model.options}
    names = ("class_weights", "class_weight_largest", "class_weight_gamma")
    return dataclasses.replace(
        model_entry(config.model.registered).config.loss, **{name: options[name] for name in names if name in options}
    )
