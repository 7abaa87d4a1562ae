"""Study 3: accuracy over the number of training images, from ImageNet's weights and from random ones.

    python -m benchmarks.study fractions --data path/to/bccd

RefineDetLite, the model of `refinedet train --data.root DIR`, on a fourth, a half, three fourths and all of BCCD's 205
training photographs, measured on its 72 of the test part. Every training has the same number of steps, so that less
data is seen more often. Which photographs a part has is drawn by the seed; a larger part has those of the smaller. From
random weights so few steps get nowhere with the recipe's augmentation, nor with batch norms that remember as long as
EfficientNet's do, which is shown of all photographs alone; hence both starts without that augmentation, too.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import ablations
from .command import add_run_options, carry_out, study_parser
from .peer_training.contestants import FLIPS
from .runs import Run

FRACTIONS = (25, 50, 75, 100)  # percent


@dataclass(frozen=True)
class Way:
    """Of training. title: in table and plot. weights: of the backbone. augment: options beside the recipe's.
    norm_momentum: as in `TrainConfig`. percents: which parts are trained on."""

    title: str
    weights: str | None
    augment: dict[str, float] = field(default_factory=dict, hash=False)
    norm_momentum: str | None = "auto"
    percents: tuple[int, ...] = FRACTIONS


WAYS = {
    "pretrained": Way("ImageNet's weights", "efficientnet_lite0"),
    "pretrained_flips": Way("ImageNet's weights, flips alone", "efficientnet_lite0", FLIPS),
    "scratch_flips": Way("random weights, flips alone", None, FLIPS),
    "scratch": Way("random weights", None, percents=(100,)),
    "scratch_slow_norms": Way("random weights, flips alone, norms as published", None, FLIPS, None, (100,)),
}
ITERATIONS = 400
KEY = "refinedetlite"  # of ablations.RUNS


def names_of(names: Sequence[str], percent: int, seed: int) -> list[str]:
    """So many of the names, drawn by the seed; more percent add to fewer."""
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    return sorted(shuffled[: max(1, round(len(shuffled) * percent / 100))])


def link_parts(data: Path, folder: Path, seeds: Sequence[int]) -> Path:
    """A data set in VOC layout whose lists are the parts, by links to the images and annotations of `data`."""
    lists = folder / "ImageSets/Main"
    lists.mkdir(parents=True, exist_ok=True)
    source = data / "ImageSets/Main"
    names = (source / "train.txt").read_text(encoding="utf-8").split()
    (lists / "test.txt").write_text((source / "test.txt").read_text(encoding="utf-8"), encoding="utf-8")
    for seed in seeds:
        for percent in FRACTIONS:
            chosen = names_of(names, percent, seed)
            (lists / f"{list_name(percent, seed)}.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    for part in ("Annotations", "JPEGImages"):
        link = folder / part
        if not link.is_symlink():
            link.symlink_to((data / part).resolve())
    return folder


def list_name(percent: int, seed: int) -> str:
    return f"train{percent}_{seed}"


def config_of(way: Way, percent: int, root: Path, seed: int, iterations: int) -> dict[str, Any]:
    """As the ablations train the same detector, on a part of the images, and with all of the backbone."""
    config = ablations.config_of(KEY, "bccd", root, seed, iterations)
    # both suppress softly, as the recipe does, and learn the whole backbone, which from scratch has to be
    config["model"]["options"]["nms"] = "coco"
    config["model"]["backbone_weights"] = way.weights
    config["train"].update(freeze=None, norm_momentum=way.norm_momentum)
    config["data"]["augment"].update(way.augment)
    config["data"]["train"] = {"split": list_name(percent, seed)}
    return config


def planned(root: Path, seeds: Sequence[int], iterations: int) -> list[Run]:
    return [
        Run(name, f"{percent}", seed, config_of(way, percent, root, seed, iterations))
        for seed in seeds
        for name, way in WAYS.items()
        for percent in way.percents
    ]


def main(arguments: list[str]) -> int:
    parser = study_parser("fractions", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="BCCD, in VOC layout")
    add_run_options(parser, "fractions", ITERATIONS)
    options = parser.parse_args(arguments)
    root = link_parts(options.data, options.folder / "data", options.seeds).resolve()
    return carry_out("fractions", planned(root, options.seeds, options.iterations), options)
