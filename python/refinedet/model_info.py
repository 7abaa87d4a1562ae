"""What a model's file says about itself, so that nothing beside the file is needed to predict with it. Needs no torch.

As JSON text under the key "refinedet" in an exported file: ONNX `metadata_props`, OpenVINO `rt_info` (there under
"refinedet", "model_info"), `extra_files` of a torch.export program.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .checks import MAX_SIDE, check_choice, check_class_names, check_integer, check_numbers, check_range, is_text
from .nms_config import NMSConfig

VERSION = 1
"""Of the format; a reader takes this one and older ones."""
KEY = "refinedet"
OUTPUTS = ("raw", "detections", "efficient_nms")
PIXELS = ("uint8", "float32")
PRECISIONS = ("float32", "float16", "bfloat16", "int8")
MAX_BATCH = 65_536


@dataclass(frozen=True)
class ModelInfo:
    """An exported network: what goes in, what comes out, and what turns its outputs into detections.

    model: name in the registry; options: all that it was built with, as JSON has them.
    classes: names of the labels 1, 2, ....
    input_size: (height, width) of the input in pixels, to which images are resized.
    batch: images in a call; None: any number.
    pixels: what the input "images" (B, 3, height, width) holds. "uint8": pixels in BGR order, which the file
        normalizes itself. "float32": (pixel - mean) / std, with the channels in `channel_order`.
    pixel_mean, pixel_std: of the channels in BGR order, in units of 0..255 pixels. channel_order: "bgr" or "rgb".
    outputs: "raw": those of `HeadOutputs` by their names, the anchors among them, which theta, variances, two_step and
        nms turn into detections. "detections": the outputs boxes, scores, labels and count, which they made already.
        "efficient_nms": those of TensorRT's plugin of this name.
    theta: an anchor with more background confidence than this in the first stage is left out.
    variances: of the box coding. two_step: False: the second stage's deltas move the tiled anchors, and arm_deltas are
        for nothing.
    nms: the suppression.
    precision: of the weights: "float32", "float16", "bfloat16" or "int8".
    package_version: of the refinedet-ext that wrote the file. version: of this format.

    ValueError that names the field for anything else.
    """

    model: str
    options: Mapping[str, Any]
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    batch: int | None
    pixels: str
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    channel_order: str
    outputs: str
    theta: float
    variances: tuple[float, float, float, float]
    two_step: bool
    nms: NMSConfig
    precision: str
    package_version: str
    version: int = VERSION

    def __post_init__(self) -> None:
        check_integer(self.version, "version", 1, VERSION)
        for name in ("model", "package_version"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value or not is_text(value):
                raise ValueError(f"{name}: expected text, got {value!r:.80}")
        if not isinstance(self.options, Mapping):
            raise ValueError(f"options: expected a mapping, got {self.options!r:.80}")
        object.__setattr__(self, "classes", _names(self.classes))
        for name, count in (("input_size", 2), ("pixel_mean", 3), ("pixel_std", 3), ("variances", 4)):
            check_numbers(getattr(self, name), name, count, positive=name != "pixel_mean")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for side in self.input_size:
            check_integer(side, "input_size", 1, MAX_SIDE)
        if self.batch is not None:
            check_integer(self.batch, "batch", 1, MAX_BATCH)
        check_choice(self.pixels, "pixels", PIXELS)
        check_choice(self.channel_order, "channel_order", ("bgr", "rgb"))
        check_choice(self.outputs, "outputs", OUTPUTS)
        check_range(self.theta, "theta", 0, 1)
        if not isinstance(self.two_step, bool):
            raise ValueError(f"two_step: expected true or false, got {self.two_step!r:.80}")
        if not isinstance(self.nms, NMSConfig):
            raise ValueError(f"nms: expected an NMSConfig, got {self.nms!r:.80}")
        check_choice(self.precision, "precision", PRECISIONS)

    @property
    def num_classes(self) -> int:
        """With background."""
        return len(self.classes) + 1

    def to_json(self) -> str:
        """One line of ASCII."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> ModelInfo:
        """What `to_json` wrote. source: the file, for errors.

        ValueError for anything else: a newer version, fields that are missing, unknown or twice there, values that do
        not fit.
        """
        try:
            content = json.loads(text, object_pairs_hook=_once, parse_constant=_not_finite)
            return cls(**_fields(content))
        except RecursionError as error:
            raise ValueError(f"{source}: its description of the model is damaged: {error}") from None
        except ValueError as error:
            raise ValueError(f"{source}: its description of the model does not hold: {error}") from None


def _fields(content: Any) -> dict[str, Any]:
    """The arguments of a `ModelInfo`; ValueError for names that are missing or unknown, and a newer version."""
    if not isinstance(content, dict):
        raise ValueError(f"expected keys and values, got {content!r:.80}")
    version = content.get("version")
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise ValueError(f"version: this package reads up to {VERSION}, got {version!r:.80}")
    _same_names(content, ModelInfo, "")
    if not isinstance(content["nms"], dict):
        raise ValueError(f"nms: expected keys and values, got {content['nms']!r:.80}")
    _same_names(content["nms"], NMSConfig, "nms ")
    return {**content, "nms": NMSConfig(**content["nms"])}


def _same_names(content: dict[str, Any], kind: Any, what: str) -> None:
    known = [field.name for field in dataclasses.fields(kind)]
    missing, unknown = [name for name in known if name not in content], [name for name in content if name not in known]
    if missing or unknown:
        raise ValueError(
            f"{what}fields: expected {', '.join(known)}; missing {missing!s:.200}, unknown {unknown!s:.200}"
        )


def _names(classes: Any) -> tuple[str, ...]:
    if not isinstance(classes, (list, tuple)):
        raise ValueError(f"classes: expected names, got {classes!r:.80}")
    try:
        return tuple(check_class_names(classes))
    except TypeError as error:
        raise ValueError(str(error)) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"expected every key once, got {name!r:.80} twice")
        content[name] = value
    return content


def _not_finite(word: str) -> Any:
    raise ValueError(f"expected finite numbers, got {word}")
