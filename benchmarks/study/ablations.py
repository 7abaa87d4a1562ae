"""Study 1: what every part of a detector brings, beside what its paper says.

    python -m benchmarks.study ablations --data path/to/bccd

Every row of the papers' ablation tables that a backbone trained on ImageNet allows, on two data sets: BCCD (205
photographs for training, 72 that are measured) and rendered scenes that are hard where the papers' mechanisms claim to
help. The options are those of `python/refinedet/configs/ablations/`; the size is what two cores can train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from .command import add_run_options, carry_out, study_parser
from .runs import Run
from .scenes import hard_scenes

SIZE, BATCH, ITERATIONS = 192, 8, 250
DATA = ("bccd", "scenes")
# what a backbone that was trained on ImageNet sees first needs no further training; a third of a step's time
FROZEN = [f"backbone.features.{i}" for i in range(4)]


@dataclass(frozen=True)
class Row:
    """A row of a paper's table.

    name: what it is called there, or nearly. run: the training behind it, a key of RUNS. paper: its figure there.
    suppression: NMS preset in place of the model's own.
    """

    name: str
    run: str
    paper: float
    suppression: str = ""


@dataclass(frozen=True)
class Table:
    """A paper's table. source: where it stands, and what its figures are. reference: the row that the others are
    compared with."""

    key: str
    title: str
    source: str
    reference: str
    rows: tuple[Row, ...]

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)


@dataclass(frozen=True)
class Family:
    """A detector at this study's size. options: beside those of the ablation."""

    model: str
    options: dict[str, Any]


# objects of 18 to 288 pixels of the input, as the registry's models for 320 pixels have them from 24 to 384
ANCHORS = {"anchor_sizes": [18, 36, 72, 144], "anchor_max_sizes": [36, 72, 144, 288]}
# PADet's, in the proportions of its paper
PADET_ANCHORS = {
    "anchor_sizes": [18.0, 36.0, 66.6, 97.2, 127.8],
    "anchor_max_sizes": [36.0, 66.6, 97.2, 127.8, 158.4],
}
FAMILIES = {
    "refinedet": Family("refinedet320_efficientnet_lite0", ANCHORS),
    "efgrnet": Family("efgrnet320_efficientnet_lite0", ANCHORS),
    "refinedetlite": Family("refinedetlite320_efficientnet_lite0", ANCHORS),
    "padet": Family("padet320_efficientnet_lite0", PADET_ANCHORS),
}

# the trainings: the detector, and the packaged configuration whose options it takes ("" for the paper's full model)
RUNS = {
    "refinedet": ("refinedet", ""),
    "refinedet-no_filtering": ("refinedet", "refinedet320_no_filtering"),
    "refinedet-no_two_step": ("refinedet", "refinedet320_no_two_step"),
    "refinedet-no_tcb": ("refinedet", "refinedet320_no_tcb"),
    "efgrnet": ("efgrnet", ""),
    **{
        f"efgrnet-{name}": ("efgrnet", f"efgrnet320_{name}")
        for name in (
            *("ssd", "enrichment", "cascade", "mscf_1", "mscf_1_2"),
            *("fgrm_dilated", "fgrm_own", "fgrm_box", "fgrm_size"),
        )
    },
    "refinedetlite": ("refinedetlite", ""),
    **{
        f"refinedetlite-{name}": ("refinedetlite", f"refinedetlite320_{name}")
        for name in (
            *("class_weights", "iou_guided", "multi_task", "giou", "giou_class_weights", "giou_iou_guided"),
            *("giou_multi_task", "giou_class_weights_iou_guided", "giou_iou_guided_multi_task"),
            *("giou_class_weights_multi_task", "all"),
        )
    },
    "refinedetlite-giou_10": ("refinedetlite", "refinedetlite320_giou"),
    "padet": ("padet", ""),
    **{
        f"padet-{name}": ("padet", f"padet384_{name}")
        for name in (
            *("baseline", "score_only", "box_only", "no_alignment"),
            *("implicit", "location", "size", "explicit"),
        )
    },
}
# what no paper has
MORE_OPTIONS = {"refinedetlite-giou_10": {"box_loss_weight": 10.0}}
SUPPRESSIONS = {"refinedetlite": ("coco",)}  # of the same weights

TABLES = (
    Table(
        "refinedet",
        "RefineDet, table 3",
        "mAP on VOC07 test, VGG-16, 320 pixels",
        "RefineDet",
        (
            Row("RefineDet", "refinedet", 80.0),
            Row("without negative filtering", "refinedet-no_filtering", 79.5),
            Row("nor two-step regression", "refinedet-no_two_step", 77.3),
            Row("nor transfer connection blocks", "refinedet-no_tcb", 76.2),
        ),
    ),
    Table(
        "efgrnet_parts",
        "EFGRNet, table 3",
        "mAP on VOC07 test, VGG-16, 320 pixels",
        "EFGRNet",
        (
            Row("EFGRNet", "efgrnet", 81.4),
            Row("cascaded refinement alone", "efgrnet-cascade", 81.0),
            Row("feature enrichment alone", "efgrnet-enrichment", 79.4),
            Row("neither: a single stage (SSD)", "efgrnet-ssd", 77.2),
        ),
    ),
    Table(
        "efgrnet_mscf",
        "EFGRNet, table 4: dilations of the multi-scale contextual features",
        "mAP on VOC07 test, feature enrichment alone",
        "1, 2, 4",
        (
            Row("1, 2, 4", "efgrnet-enrichment", 79.4),
            Row("1, 2", "efgrnet-mscf_1_2", 79.0),
            Row("1", "efgrnet-mscf_1", 78.7),
        ),
    ),
    Table(
        "efgrnet_offsets",
        "EFGRNet, table 5: what the sampling follows",
        "mAP on VOC07 test, cascaded refinement alone",
        "x, y of the box offsets",
        (
            Row("x, y of the box offsets", "efgrnet-cascade", 81.0),
            Row("all four", "efgrnet-fgrm_box", 80.7),
            Row("offsets of its own", "efgrnet-fgrm_own", 80.5),
            Row("height, width", "efgrnet-fgrm_size", 80.3),
            Row("a dilated convolution", "efgrnet-fgrm_dilated", 80.2),
        ),
    ),
    Table(
        "refinedetlite",
        "RefineDetLite: the steps to RefineDetLite++",
        "AP on COCO test-dev, Res2NetLite72, 320 pixels",
        "soft-NMS",
        (
            Row("RefineDetLite", "refinedetlite", 26.8),
            Row("soft-NMS", "refinedetlite", 27.2, "coco"),
            Row("soft-NMS, class weights", "refinedetlite-class_weights", 27.4),
            Row("soft-NMS, IoU-guided", "refinedetlite-iou_guided", 27.5),
            Row("soft-NMS, multi-task", "refinedetlite-multi_task", 27.7),
            Row("soft-NMS, GIoU", "refinedetlite-giou", 28.2),
            Row("soft-NMS, GIoU weighing 10", "refinedetlite-giou_10", 28.2),
            Row("soft-NMS, GIoU, class weights", "refinedetlite-giou_class_weights", 28.5),
            Row("soft-NMS, GIoU, IoU-guided", "refinedetlite-giou_iou_guided", 28.6),
            Row("soft-NMS, GIoU, multi-task", "refinedetlite-giou_multi_task", 28.7),
            Row(
                "soft-NMS, GIoU, class weights, IoU-guided",
                "refinedetlite-giou_class_weights_iou_guided",
                29.0,
            ),
            Row(
                "soft-NMS, GIoU, class weights, multi-task",
                "refinedetlite-giou_class_weights_multi_task",
                29.2,
            ),
            Row("soft-NMS, GIoU, IoU-guided, multi-task", "refinedetlite-giou_iou_guided_multi_task", 29.3),
            Row("all: RefineDetLite++", "refinedetlite-all", 29.6),
        ),
    ),
    Table(
        "padet_parts",
        "PADet, table 2: anchor promotion and feature alignment",
        "AP on COCO minival, VGG-16, 384 pixels",
        "PADet",
        (
            Row("PADet", "padet", 34.8),
            Row("promotion alone", "padet-no_alignment", 31.7),
            Row("promotion of scores alone", "padet-score_only", 31.0),
            Row("promotion of boxes alone", "padet-box_only", 30.6),
            Row("neither", "padet-baseline", 29.6),
        ),
    ),
    Table(
        "padet_alignment",
        "PADet, table 5: what the features are aligned by",
        "AP on COCO minival, VGG-16, 384 pixels",
        "location and size, apart",
        (
            Row("location and size, apart", "padet", 34.8),
            Row("location and size, together", "padet-explicit", 34.1),
            Row("location", "padet-location", 33.6),
            Row("size", "padet-size", 33.4),
            Row("offsets of its own", "padet-implicit", 32.8),
            Row("no alignment", "padet-no_alignment", 31.7),
        ),
    ),
)


@cache
def options_of(ablation: str) -> dict[str, Any]:
    """The model options of a packaged configuration of configs/ablations, without those of its base."""
    if not ablation:
        return {}
    text = resources.files("refinedet.configs").joinpath(f"ablations/{ablation}.yaml").read_text(encoding="utf-8")
    options: dict[str, Any] = yaml.safe_load(text)["model"]["options"]
    return options


def config_of(key: str, data: str, root: Path, seed: int, iterations: int = ITERATIONS) -> dict[str, Any]:
    """The configuration of a training, with the names of the YAML files."""
    family, ablation = RUNS[key]
    chosen = FAMILIES[family]
    return {
        "model": {
            "name": chosen.model,
            "options": {
                "input_size": SIZE,
                **chosen.options,
                **options_of(ablation),
                **MORE_OPTIONS.get(key, {}),
            },
            "backbone_weights": "efficientnet_lite0",
        },
        "data": data_config(data, root),
        "optim": {
            "optimizer": "adamw",
            "lr": 0.0015,
            "weight_decay": 0.05,
            "bias_lr_factor": 1.0,
            "schedule": "cosine",
            "final_factor": 0.01,
            "warmup_iterations": 20,
        },
        "train": {
            "iterations": iterations,
            "seed": seed,
            "precision": "auto",
            "clip_norm": 20.0,
            "ema": 0.99,
            "eval_every": 1000,
            "freeze": FROZEN,
            "loggers": [],
        },
        # the last model, so that the images that are measured choose none
        "evaluation": {"kind": "coco", "select": "last"},
    }


def data_config(data: str, root: Path) -> dict[str, Any]:
    """Trains on the train part, measures on the test part."""
    common = {"batch_size": BATCH, "workers": 0, "cache_images": True, "augment": {"max_expand": 2.0}}
    if data == "bccd":
        parts = {"format": "voc", "classes": "auto", "train": {"split": "train"}, "val": {"split": "test"}}
    else:
        train, test = ({"image_dir": name, "annotation_file": f"annotations/{name}.json"} for name in ("train", "test"))
        parts = {"format": "coco", "train": train, "val": test}
    return {"root": str(root), **parts, **common}


def planned(roots: dict[str, Path], seeds: Sequence[int], iterations: int) -> list[Run]:
    """All trainings, those of the first seed first, so that a part of them tells something of every row."""
    return [
        Run(data, key, seed, config_of(key, data, roots[data], seed, iterations), SUPPRESSIONS.get(key, ()))
        for seed in seeds
        for data in roots
        for key in RUNS
    ]


def main(arguments: list[str]) -> int:
    parser = study_parser("ablations", __doc__)
    parser.add_argument("--data", type=Path, required=True, help="BCCD, in VOC layout")
    add_run_options(parser, "ablations", ITERATIONS)
    options = parser.parse_args(arguments)
    roots = {"bccd": options.data.resolve(), "scenes": hard_scenes(options.folder.parent / "scenes").resolve()}
    return carry_out("ablations", planned(roots, options.seeds, options.iterations), options)
