"""The parts of a run that its configuration stands for: data, model, module."""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl

from ..data import to_coco_dict
from ..data.dataset import DetectionDataset
from ..detectors import Detector
from ..evaluation import Evaluator
from ..registry import create_model
from ..weights import outline
from .checkpoints import describe_run
from .checks import check_batch_size
from .class_weights import check_class_weights, with_class_weights
from .config import RunConfig
from .data import DetectionData
from .gradient_checkpointing import checkpoint_activations
from .module import DetectionModule
from .norms import set_norm_momentum, with_norm_momentum
from .overlaps import warn_of_overlaps
from .processes import find_processes, share_of_batch
from .resume import Resumed, check_resumable
from .splits import open_training
from .start import build_model, with_backbone_options, with_length
from .stopping import TimeLimit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Setup:
    """config: with nothing left open. val_in_train: images of val that are trained on. limit: where the run has one.
    run: what it is by its nature, see `describe_run`."""

    config: RunConfig
    train_set: DetectionDataset
    val_set: DetectionDataset
    val_in_train: int
    data: DetectionData
    module: DetectionModule
    limit: TimeLimit | None
    run: dict[str, Any]

    @property
    def class_names(self) -> list[str]:
        return self.train_set.class_names

    @property
    def model(self) -> Detector:
        return self.module.model


def set_up(config: RunConfig, resumed: Resumed | None = None, *, count_classes: bool = False) -> Setup:
    """Open the data and build the model.

    resumed: the checkpoint of the run that goes on. count_classes: whether its class weights must be those of the data.

    ValueError for what does not hold together, or has changed since in a way that a run cannot go on with.
    """
    random_weights = config.model.weights is None and config.model.backbone_weights is None
    settings = with_norm_momentum(config.train, random_weights=random_weights)
    config = dataclasses.replace(config, train=settings)
    processes = find_processes(settings).total
    share = share_of_batch(config.data.batch_size, processes)
    train_set, val_set = open_training(config.data)
    val_in_train = warn_of_overlaps(config, train_set, val_set)
    names = train_set.class_names
    config = with_length(config, len(train_set))
    pl.seed_everything(settings.seed, verbose=False)
    if resumed is None:
        config = with_class_weights(with_backbone_options(config), train_set)
        model = build_model(config, names)
    else:  # without the weights that the run began with
        spec = resumed.run["model"]
        classes = len(resumed.run["class_names"]) + 1
        if count_classes:
            check_class_weights(config, resumed.run, train_set)
        resumed.check_weights(outline(spec["name"], classes, spec["options"], source=str(resumed.file)))
        model = create_model(spec["name"], len(names) + 1, **spec["options"]).train()
    set_norm_momentum(model, settings.norm_momentum)
    check_batch_size(model, share, settings.frozen)
    assert model.spec is not None  # both ways of building a model leave it
    run = describe_run(config, model.spec, names, images=len(train_set), processes=processes)
    if resumed is not None:
        for line in check_resumable(resumed.run, run):
            logger.warning("train.resume: %s", line)
    data = DetectionData(
        config.data,
        train_set,
        val_set,
        size=model.config.input_size,
        normalization=model.normalization,
        seed=settings.seed,
        processes=processes,
    )
    limit = None
    if settings.max_minutes is not None:
        limit = TimeLimit(settings.max_minutes, math.ceil(len(val_set) / processes))
    module = DetectionModule(
        model,
        config.optim,
        Evaluator(to_coco_dict(val_set), names),
        kind=config.evaluation.kind,
        channels_last=settings.channels_last,
        frozen=settings.frozen,
        multi_scale=settings.multi_scale,
        seed=settings.seed,
        time_share=(lambda: 0.0) if limit is None else (lambda: limit.share),
        resumed=resumed is not None,
    )
    if settings.gradient_checkpointing:
        checkpoint_activations(model.backbone)
    if settings.compile:
        model.compile()
    return Setup(config, train_set, val_set, val_in_train, data, module, limit, run)
