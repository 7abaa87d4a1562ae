"""The options that every two-stage single-shot detector here shares: anchors, training rules, suppression."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np

from refinedet_ext.defaults import VARIANCES

from ..anchors import AnchorGenerator, AnchorLevel
from ..checks import MAX_SIDE, check_choice, check_integer, check_numbers, check_range
from ..losses.config import LossConfig
from ..model_options import present_options
from ..nms_config import NMSConfig, resolve_nms
from ..structures import CAFFE_MEAN, Normalization

if TYPE_CHECKING:
    from typing_extensions import Self

LOSS_OPTIONS = tuple(field.name for field in dataclasses.fields(LossConfig))


@dataclass(frozen=True)
class DetectorConfig:
    """Options of a detector; the defaults are RefineDet's original (Caffe) rules.

    Most options say what the weights of a model mean, and go with them. Those in `FREE`, of a class and its bases, do
    not: a model that is loaded may have others than it was trained with, see `free_options`. ``theta`` holds in
    training and inference, ``loss`` in training alone, ``nms`` in inference alone.

    Args:
        input_size: nominal side of the square input in pixels.
        anchor_sizes: side of the square anchor of every level, in pixels.
        anchor_max_sizes: if given, per level the M of a second square anchor of side sqrt(size * M).
        anchor_ratios: aspect ratios besides 1; each also stands upside down. One list for all levels, or one each.
        anchor_offset: position of the anchors' centers within a cell.
        clip_anchors: clamp the center-size form of the anchors to the input (PyTorch ports).
        variances: of the box coding, for center x, center y, width, height.
        pixel_mean, pixel_std, channel_order: how pixels in 0..255 become input, see `structures.Normalization`.
        theta: an anchor is easy background when the ARM's background confidence is above it; 1.0 never filters.
        loss: the rules of the loss. Outside Python (in `create_model`, on the command line, in YAML and in model files)
            its fields are options beside the others, by their own names: see `from_options`, `to_dict`.
        nms: a preset ("code", "paper", "coco", "padet", "efgrnet") or a mapping of `NMSConfig` fields. Sides of boxes
            are x2 - x1, where the released code that "coco" and "efgrnet" stand for counts x2 - x1 + 1.
    """

    FREE: ClassVar[tuple[str, ...]] = ("input_size", "theta", "nms", *LOSS_OPTIONS)

    input_size: int = 320
    anchor_sizes: tuple[float, ...] = (32, 64, 128, 256)
    anchor_max_sizes: tuple[float, ...] | None = None
    anchor_ratios: tuple[float, ...] | tuple[tuple[float, ...], ...] = (2.0,)
    anchor_offset: float = 0.5
    clip_anchors: bool = False
    variances: tuple[float, float, float, float] = VARIANCES
    pixel_mean: tuple[float, float, float] = CAFFE_MEAN
    pixel_std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: Literal["bgr", "rgb"] = "bgr"
    theta: float = 0.99
    loss: LossConfig = LossConfig()
    nms: str | Mapping[str, Any] | NMSConfig = "code"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _tuples(getattr(self, field.name)))
            if isinstance(field.default, bool):
                check_choice(getattr(self, field.name), field.name, (True, False))
        check_integer(self.input_size, "input_size", 1, MAX_SIDE)
        check_range(self.theta, "theta", 0, 1)
        check_numbers(self.anchor_sizes, "anchor_sizes", positive=True)
        if self.anchor_max_sizes is not None:
            check_numbers(self.anchor_max_sizes, "anchor_max_sizes", positive=True)
        nested = isinstance(self.anchor_ratios, tuple) and any(isinstance(ratio, tuple) for ratio in self.anchor_ratios)
        for ratios in self.anchor_ratios if nested else (self.anchor_ratios,):
            check_numbers(ratios, "anchor_ratios", positive=True)
        check_numbers(self.variances, "variances", 4, positive=True)
        check_numbers(self.pixel_mean, "pixel_mean", 3)
        check_numbers(self.pixel_std, "pixel_std", 3, positive=True)
        check_choice(self.channel_order, "channel_order", ("bgr", "rgb"))
        check_range(self.anchor_offset, "anchor_offset", -1, 1)
        resolve_nms(self.nms)  # this and the next two are called for their checks
        self.normalization()
        self.anchor_levels((1,) * len(self.anchor_sizes))

    def normalization(self) -> Normalization:
        return Normalization(self.pixel_mean, self.pixel_std, self.channel_order)

    def anchor_levels(self, steps: Sequence[float | None]) -> tuple[AnchorLevel, ...]:
        """The anchors of each level of a detector whose levels lie `steps` pixels apart."""
        count = len(self.anchor_sizes)
        if len(steps) != count:
            raise ValueError(f"anchor_sizes: expected one for each of {len(steps)} levels, got {self.anchor_sizes}")
        max_sizes: tuple[float | None, ...] = self.anchor_max_sizes or (None,) * count
        ratios = [entry for entry in self.anchor_ratios if isinstance(entry, tuple)]
        if not ratios:  # one list for all levels
            ratios = [cast("tuple[float, ...]", self.anchor_ratios)] * count
        for name, number in (("anchor_max_sizes", len(max_sizes)), ("anchor_ratios", len(ratios))):
            if number != count:
                raise ValueError(f"{name}: expected one for each of {count} levels, got {getattr(self, name)}")
        return tuple(
            AnchorLevel(size, step, max_size, ratio)
            for size, step, max_size, ratio in zip(self.anchor_sizes, steps, max_sizes, ratios, strict=True)
        )

    def anchor_generator(self, steps: Sequence[float | None]) -> AnchorGenerator:
        return AnchorGenerator(self.anchor_levels(steps), offset=self.anchor_offset, clip=self.clip_anchors)

    @classmethod
    def free_options(cls) -> frozenset[str]:
        """Names of the options that neither shape the weights nor say what they mean: rules of the loss and of the
        inference, first values of new weights, the input's side.

        All others belong to the weights: the network, its pixels, its anchors and their coding.
        """
        return frozenset(name for base in cls.__mro__ for name in vars(base).get("FREE", ()))

    @classmethod
    def from_options(cls, **options: Any) -> Self:
        """A config from options as `to_dict` gives them: those of the loss stand beside the others."""
        return cls().with_options(**options)

    def with_options(self, **options: Any) -> Self:
        """This config with some options changed; those of the loss stand beside the others.

        `negative_ratio`, the name of an option that is now each stage's own, changes both.
        """
        options = present_options(options)
        loss = {name: _tuples(options.pop(name)) for name in LOSS_OPTIONS if name in options}
        return dataclasses.replace(self, **options, loss=dataclasses.replace(self.loss, **loss))

    def to_dict(self) -> dict[str, Any]:
        """All options, those of the loss beside the others, as plain lists, numbers and strings: JSON goes round."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        rules = own.pop("loss")
        return {name: _plain(value) for name, value in {**own, **vars(rules)}.items()}


def _tuples(value: Any) -> Any:
    """Lists, which come from JSON and YAML, as tuples; NumPy's numbers and arrays as Python's own."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    return tuple(_tuples(v) for v in value) if isinstance(value, (list, tuple)) else value


def _plain(value: Any) -> Any:
    if isinstance(value, NMSConfig):
        return dataclasses.asdict(value)
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return dict(value) if isinstance(value, Mapping) else value
