"""What a pretraining is made of. The command line, YAML files and Python all fill these in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..checks import check_choice, check_integer, check_numbers, check_range
from ..engine.config import OptimConfig, TrainConfig
from ..model_options import present_options

SMALLEST_SIDE = 32
"""Of an image in pixels: the stride of the coarsest trunks."""


@dataclass
class BackboneConfig:
    """Whose backbone, and what it starts from.

    Args:
        name: a detector of the registry, whose backbone is trained (`refinedet info` lists them). Its pixel_mean,
            pixel_std and channel_order say how the backbone reads images.
        options: changes to that detector's defaults; those that concern its backbone matter.
        backbone_weights: weights to start from, as for refinedet train; null starts from random ones.
    """

    name: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    backbone_weights: str | None = None

    def __post_init__(self) -> None:
        self.options = present_options(self.options)

    @property
    def registered(self) -> str:
        """The detector's name; ValueError where there is none."""
        if self.name is None:
            raise ValueError("model.name: expected a detector whose backbone is to be trained, got none")
        return self.name


@dataclass
class FolderConfig:
    """Images in a folder for each class, and how they reach the network.

    Args:
        root: the folder. Either it has the parts train and val, each with a folder for every class (ImageNet's
            layout), or the classes' folders themselves, of which val_fraction is held out.
        val_fraction: the share of every class that is held out where there is no part val.
        split_seed: decides which images those are.
        size: side of the network's input in pixels.
        crop_scale: smallest and largest share of an image's area that a training crop has.
        batch_size: images of a step, of all processes together.
        eval_batch_size: images per step in evaluation.
        workers: loader processes; 0 loads in the main process.
        on_error: an image that cannot be read while the network trains is replaced by another, and counts as a
            mistake in an evaluation ("skip"), or ends the run ("raise").
    """

    root: str | None = None
    val_fraction: float = 0.1
    split_seed: int = 0
    size: int = 224
    crop_scale: list[float] = field(default_factory=lambda: [0.08, 1.0])
    batch_size: int = 32
    eval_batch_size: int = 32
    workers: int = 2
    on_error: Literal["skip", "raise"] = "skip"

    def __post_init__(self) -> None:
        check_range(self.val_fraction, "data.val_fraction", 0.001, 0.999)
        check_integer(self.split_seed, "data.split_seed", 0, 2**32 - 1)
        check_integer(self.size, "data.size", SMALLEST_SIDE)
        check_numbers(tuple(self.crop_scale), "data.crop_scale", 2, positive=True)
        low, high = self.crop_scale
        if not low <= high <= 1:
            raise ValueError(f"data.crop_scale: expected 0 < low <= high <= 1, got {[low, high]}")
        check_integer(self.batch_size, "data.batch_size", 2)  # a batch norm of one cell has nothing to average
        check_integer(self.eval_batch_size, "data.eval_batch_size", 1)
        check_integer(self.workers, "data.workers", 0)
        check_choice(self.on_error, "data.on_error", ("skip", "raise"))


@dataclass
class PretrainConfig:
    """A whole pretraining.

    Args:
        model: whose backbone, and what it starts from.
        data: where the images come from and how they reach the network.
        optim: the optimizer and the learning rate over time.
        train: how long and how to train.
        label_smoothing: share of every label that goes to all classes alike.
        output: folder for the backbone files, checkpoints, logs and metrics; null takes runs/pretrain, or
            runs/pretrain-2 and so on where that is in use.
        imports: modules of your own that register models, by name or file.
    """

    model: BackboneConfig = field(default_factory=BackboneConfig)
    data: FolderConfig = field(default_factory=FolderConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    label_smoothing: float = 0.1
    output: str | None = None
    imports: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_range(self.label_smoothing, "label_smoothing", 0, 0.999)
        if self.train.multi_scale:
            raise ValueError(
                f"train.multi_scale: expected none, as a classifier trains at data.size, got {self.train.multi_scale}"
            )
        if self.train.epochs == "auto":
            raise ValueError("train.epochs: expected a number, as auto is for detectors, got 'auto'")
