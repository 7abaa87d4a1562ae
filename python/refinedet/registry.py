"""The model registry: detectors by name, with their options checked."""

from __future__ import annotations

import difflib
import fnmatch
import os
from collections.abc import Mapping
from typing import Any

from .backbones.backbone_file import same_option
from .checks import check_integer
from .detectors import Detector
from .detectors.registration import ENTRIES, ModelEntry, ModelSpec, register_model
from .inference.finite import check_finite_weights
from .model_options import present_options
from .pretrained import backbone_options, load_backbone

__all__ = ["ModelEntry", "ModelSpec", "create_model", "list_models", "model_entry", "register_model"]


def list_models(pattern: str = "*") -> list[str]:
    """Names of the registered models that match a shell-style pattern, sorted.

    Args:
        pattern: such as "refinedet*"; every name matches "*".
    """
    return sorted(fnmatch.filter(ENTRIES, pattern))


def model_entry(name: str) -> ModelEntry:
    """The registry's entry of a model.

    Args:
        name: one of `list_models()`.

    Raises:
        ValueError: with the closest names if there is none.
    """
    if name not in ENTRIES:
        raise ValueError(f"name: no model {name!r}; {_closest(name, list(ENTRIES), 'models')}")
    return ENTRIES[name]


def create_model(
    name: str,
    num_classes: int = 21,
    *,
    backbone_weights: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Detector:
    """Build a registered detector.

    Args:
        name: one of `list_models()`, such as "refinedet320_vgg16".
        num_classes: number of classes including background: 21 for the 20 classes of PASCAL VOC.
        backbone_weights: pretrained weights of the backbone: a local file, "efficientnet_lite0" (of the package that
            the extra [pretrained] installs) or "torchvision/resnet101" and the like (downloaded once by torch.hub, see
            `pretrained.PUBLISHED`); None starts from random weights. A name, or a file that `refinedet convert` wrote,
            says what the weights expect: those options are set (and logged, where they are not the defaults).
        options: changes to the model's defaults, see ``model_entry(name).options``.

    Returns:
        The detector in training mode, as any new module of torch.

    Raises:
        ValueError: for an unknown model or option, with the closest ones there are, and for options that contradict
            what the backbone's weights expect.
    """
    num_classes = check_integer(num_classes, "num_classes", 2)
    check_options(name, options)
    entry = model_entry(name)
    if backbone_weights is not None:
        options = _options_of_weights(backbone_weights, entry, options)
    config = entry.config.with_options(**options)
    model = entry.build(config, num_classes)
    model.spec = ModelSpec(name, num_classes, config.to_dict())
    if backbone_weights is not None:
        load_backbone(model.backbone, backbone_weights)
        check_finite_weights(model.backbone, f"backbone_weights: {backbone_weights}")
    return model


def _options_of_weights(weights: str | os.PathLike[str], entry: ModelEntry, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options with those that the backbone's weights set; ValueError that names the weights if they are wrong."""
    options = backbone_options(weights, entry.options, given)
    try:
        entry.config.with_options(**options)
    except ValueError as error:
        raise ValueError(f"backbone_weights: {weights} sets an option that does not hold: {error}") from None
    return options


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """ValueError for a model or an option that there is not, and for a value that the option does not take."""
    _check_option_names(name, options)
    model_entry(name).config.with_options(**options)


def change_options(
    name: str, stored: Mapping[str, Any], changes: Mapping[str, Any], *, source: str, section: str = ""
) -> dict[str, Any]:
    """The options of a model whose weights are there already, with changes that leave the weights as they are.

    name: of the registry. stored: the options that the weights were trained with; the others are the model's defaults.
    changes: those that are asked for. source: whose weights they are, and section: what stands before an option's name,
    both for errors.

    ValueError for an option that there is not, for one that belongs to the weights (see
    `DetectorConfig.free_options`) and is asked to be another than theirs, and for values that do not hold together.
    """
    changes = present_options(changes)
    _check_option_names(name, changes)
    before = model_entry(name).config.with_options(**stored)
    after = before.with_options(**changes)
    old, new, free = before.to_dict(), after.to_dict(), before.free_options()
    for option in changes:
        if option not in free and not same_option(new[option], old[option]):
            raise ValueError(
                f"{section}{option}: expected {old[option]!r} or nothing, as {source} has it: its weights were trained "
                f"so, got {changes[option]!r}; what may be another is {', '.join(sorted(free))}"
            )
    return new


def _check_option_names(name: str, options: Mapping[str, Any]) -> None:
    known = list(model_entry(name).options)
    for option in present_options(options):
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; {_closest(option, known, 'options')}")


def _closest(name: str, known: list[str], what: str) -> str:
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(other) for other in close) + "?"
    return f"{what}: {', '.join(sorted(known))}"
