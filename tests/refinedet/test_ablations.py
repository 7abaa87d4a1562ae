"""The papers' ablation tables, row by row: which configuration is a row, and what it changes of the row beside it.

What is compared are resolved configurations: the options of the model with their defaults, presets as what they stand
for, data, optimizer, schedule and metrics; all but the folder of the results.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any, NamedTuple

import pytest

from refinedet.api import run_config
from refinedet.config_files import find_config, list_configs, load_config
from refinedet.nms_config import resolve_nms
from refinedet.registry import model_entry


class Row(NamedTuple):
    """figure: what the paper gives for it. config: its name. beside: the configuration that it is compared with; None
    is that of the row above. changes: what it has that the other has otherwise, by dotted name; empty where it is the
    first row, or the same configuration under another name."""

    figure: float
    config: str
    changes: dict[str, Any] = {}
    beside: str | None = None


REFINEDET = "refinedet320_vgg16_voc07"
EFGRNET, EFGRNET_COCO = "efgrnet320_vgg16_voc07", "efgrnet320_vgg16_coco"
COCO_MODEL = "coco.safetensors"  # what these recipes do not do without
TAPS = "model.options.offset_source"

TABLES: dict[str, list[Row]] = {
    # each row without one more part
    "RefineDet, table 3, VOC07": [
        Row(80.0, REFINEDET),
        Row(
            79.5,
            "ablations/refinedet320_no_filtering",
            {"model.options.theta": 1.0, "model.options.filtering": "none"},
        ),
        Row(77.3, "ablations/refinedet320_no_two_step", {"model.options.two_step": False}),
        # "redefining the loss function in the ARM to directly detect multi-class objects, just like SSD"
        Row(
            76.2,
            "ablations/refinedet320_no_tcb",
            {"model.options.use_tcb": False, "model.options.cascade": False},
        ),
    ],
    "EFGRNet, table 3, VOC07": [
        Row(77.2, "ablations/efgrnet320_ssd"),
        Row(79.4, "ablations/efgrnet320_enrichment", {"model.options.enrichment": True}),
        Row(81.0, "ablations/efgrnet320_cascade", {"model.options.cascade": True}, "ablations/efgrnet320_ssd"),
        Row(81.4, EFGRNET, {"model.options.enrichment": True}),
        Row(81.4, EFGRNET, {"model.options.cascade": True}, "ablations/efgrnet320_enrichment"),
    ],
    "EFGRNet, table 3, COCO": [
        Row(24.4, "ablations/efgrnet320_ssd_coco"),
        Row(29.1, "ablations/efgrnet320_enrichment_coco", {"model.options.enrichment": True}),
        Row(
            31.1, "ablations/efgrnet320_cascade_coco", {"model.options.cascade": True}, "ablations/efgrnet320_ssd_coco"
        ),
        Row(33.0, EFGRNET_COCO, {"model.options.enrichment": True}),
        Row(33.0, EFGRNET_COCO, {"model.options.cascade": True}, "ablations/efgrnet320_enrichment_coco"),
    ],
    # measured with the enrichment alone
    "EFGRNet, table 4, branches of MSCF, VOC07": [
        Row(78.7, "ablations/efgrnet320_mscf_1"),
        Row(79.0, "ablations/efgrnet320_mscf_1_2", {"model.options.mscf_dilations": [1, 2]}),
        Row(79.4, "ablations/efgrnet320_enrichment", {"model.options.mscf_dilations": [1, 2, 4]}),
    ],
    # measured with the cascade alone
    "EFGRNet, table 5, what moves the taps, VOC07": [
        Row(80.2, "ablations/efgrnet320_fgrm_dilated"),
        Row(80.5, "ablations/efgrnet320_fgrm_own", {TAPS: "own"}),
        Row(80.7, "ablations/efgrnet320_fgrm_box", {TAPS: "box"}),
        Row(80.3, "ablations/efgrnet320_fgrm_size", {TAPS: "size"}),
        Row(81.0, "ablations/efgrnet320_cascade", {TAPS: "position"}),
    ],
}
# what no table compares, and yet is to differ in nothing else
RECIPES: dict[str, Row] = {
    "EFGRNet's text beside its released code": Row(
        33.2,
        "efgrnet320_vgg16_coco_paper",
        {
            "model.options.peer_compat": False,
            "model.options.matching": "bipartite",
            "model.options.filtering": "caffe",
            "model.options.empty_batch_negatives": 0,
            "data.augment": {},
            "optim.milestones": [90, 120, 140],
            "optim.gamma": 0.1,
        },
        EFGRNET_COCO,
    ),
    "RefineDet from COCO to VOC07": Row(
        84.0,
        "refinedet320_vgg16_coco_to_voc07",
        {
            "model.weights": COCO_MODEL,
            "model.subsample_classes": "voc_in_coco",
            "optim.lr": 5e-5,
            "optim.gamma": 0.2,
            "optim.milestones": [80_000],
        },
        REFINEDET,
    ),
}
ROWS = [
    pytest.param(row, row.beside or rows[place - 1].config, id=f"{table}: {row.figure} beside {row.beside or 'above'}")
    for table, rows in TABLES.items()
    for place, row in enumerate(rows)
    if place > 0
]


@lru_cache
def resolved(name: str) -> dict[str, Any]:
    """A configuration with nothing left open, flat."""
    run = run_config(name, {"model": {"weights": COCO_MODEL}} if "coco_to_voc" in name else {})
    content = dataclasses.asdict(run)
    del content["output"]
    model = content["model"]
    model["name"] = run.model.registered
    model["options"] = model_entry(model["name"]).config.with_options(**model["options"]).to_dict()
    model["options"]["nms"] = dataclasses.asdict(resolve_nms(model["options"]["nms"]))
    return flat(content)


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """data.augment, whose keys are what differs from the pipeline's defaults, stays one value."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        inner = isinstance(value, dict) and f"{prefix}{key}" != "data.augment"
        found |= flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


def differences(name: str, other: str) -> dict[str, Any]:
    """What `name` has that `other` has otherwise; options that only one of the models has are there with None."""
    mine, theirs = resolved(name), resolved(other)
    keys = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key) or (key in mine) != (key in theirs)]
    return {key: mine.get(key) for key in keys}


@pytest.mark.parametrize(("row", "beside"), ROWS)
def test_a_row_changes_what_the_paper_says_and_nothing_else(row: Row, beside: str) -> None:
    assert differences(row.config, beside) == row.changes


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_changes_what_it_is_about_and_nothing_else(recipe: str) -> None:
    row = RECIPES[recipe]
    assert row.beside is not None and differences(row.config, row.beside) == row.changes


def test_a_difference_anywhere_is_seen() -> None:
    """Of the data, of the optimizer, of the length, and of a preset."""
    found = differences("ablations/refinedet320_no_tcb", "refinedet320_vgg16_coco")
    assert {"data.format", "optim.milestones", "train.iterations", "evaluation.kind"} <= set(found)
    assert found["model.options.nms.method"] == "hard" and found["model.options.cascade"] is False
    lite = differences(REFINEDET, "refinedetlite320_res2netlite72_coco")
    assert lite["model.options.tcb_channels"] == 256 and lite["model.options.head_inner"] is None


@pytest.mark.parametrize("table", TABLES)
def test_a_rows_file_names_the_figure_of_the_paper(table: str) -> None:
    for row in TABLES[table]:
        if row.config.startswith("ablations/"):
            head = find_config(row.config).read_text(encoding="utf-8").split("base:")[0]
            assert f"{row.figure:.1f}" in head, row.config


@pytest.mark.parametrize("table", TABLES)
def test_a_row_writes_into_a_folder_of_its_own(table: str) -> None:
    for row in TABLES[table]:
        assert load_config(row.config)["output"] == f"runs/{row.config.removeprefix('ablations/')}"


def test_every_ablation_of_these_detectors_is_a_row() -> None:
    rows = {row.config for table in TABLES.values() for row in table}
    detectors = {config.removeprefix("ablations/").split("320")[0] + "320_" for config in rows}
    files = {
        name for name in list_configs() if name.startswith(tuple(f"ablations/{detector}" for detector in detectors))
    }
    assert files <= rows <= set(list_configs())
