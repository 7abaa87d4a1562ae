"""The ablation tables of PADet and RefineDetLite: what a row changes of the row above it, and nothing else.

What is compared are the resolved configurations, all but the folder of the results.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import pytest

from refinedet.api import run_config
from refinedet.config_files import find_config, list_configs
from refinedet.nms_config import resolve_nms
from refinedet.registry import model_entry

PADET, LITE = "ablations/padet384_", "ablations/refinedetlite320_"
# a stage that no filter stands before mines its negatives, as the promotion's scores do themselves
NO_SCORES: dict[str, Any] = {"theta": 1.0, "filtering": "none", "odm_negative_ratio": 3.0}
SCORES: dict[str, Any] = {"theta": 0.99, "filtering": "caffe", "odm_negative_ratio": "all"}
NMS = {"nms.iou_threshold": 0.3, "nms.method": "linear"}
GIOU, WEIGHTS, TASKS = {"box_loss": "giou"}, {"class_weights": "data"}, {"task_balance": "uncertainty"}
GUIDED = {"soft_label_alpha": 0.25, "anchor_weight_beta": 0.9}
ROOT = f"{LITE}soft_nms"

# configuration, figure of the paper, configuration beside it, and the options of the model that it has otherwise
ROWS: list[tuple[str, float, str, dict[str, Any]]] = [
    # PADet, table 2
    (f"{PADET}score_only", 31.0, f"{PADET}baseline", {"promotion": "score", **SCORES}),
    (f"{PADET}box_only", 30.6, f"{PADET}baseline", {"promotion": "box"}),
    (f"{PADET}no_alignment", 31.7, f"{PADET}score_only", {"promotion": "both"}),
    (f"{PADET}no_alignment", 31.7, f"{PADET}box_only", {"promotion": "both", **SCORES}),
    (f"{PADET}baseline", 29.6, f"{PADET}no_alignment", {"promotion": "none", **NO_SCORES}),
    (f"{PADET}disentangled", 34.8, f"{PADET}no_alignment", {"alignment": "disentangled"}),
    # PADet, table 5
    *(
        (f"{PADET}{name}", figure, f"{PADET}no_alignment", {"alignment": name})
        for name, figure in (("implicit", 32.8), ("location", 33.6), ("size", 33.4), ("explicit", 34.1))
    ),
    ("padet384_vgg16_coco", 34.8, f"{PADET}disentangled", {}),
    # RefineDetLite, (a) to (d)
    (f"{LITE}res2block", 25.7, f"{LITE}baseline", {"block": "res2"}),
    ("refinedetlite320_res2netlite72_coco", 26.8, f"{LITE}res2block", {"head": "light"}),
    (ROOT, 27.2, "refinedetlite320_res2netlite72_coco", NMS),
    # (e) to (o)
    (f"{LITE}class_weights", 27.4, ROOT, WEIGHTS),
    (f"{LITE}iou_guided", 27.5, ROOT, GUIDED),
    (f"{LITE}multi_task", 27.7, ROOT, TASKS),
    (f"{LITE}giou", 28.2, ROOT, GIOU),
    (f"{LITE}giou_class_weights", 28.5, f"{LITE}giou", WEIGHTS),
    (f"{LITE}giou_iou_guided", 28.6, f"{LITE}giou", GUIDED),
    (f"{LITE}giou_multi_task", 28.7, f"{LITE}giou", TASKS),
    (f"{LITE}giou_class_weights_iou_guided", 29.0, f"{LITE}giou_class_weights", GUIDED),
    (f"{LITE}giou_class_weights_multi_task", 29.2, f"{LITE}giou_class_weights", TASKS),
    (f"{LITE}giou_iou_guided_multi_task", 29.3, f"{LITE}giou_iou_guided", TASKS),
    (f"{LITE}all", 29.6, f"{LITE}giou_iou_guided_multi_task", WEIGHTS),
    (f"{LITE}all", 29.6, f"{LITE}giou_class_weights_multi_task", GUIDED),
    (f"{LITE}all", 29.6, f"{LITE}giou_class_weights_iou_guided", TASKS),
]


@lru_cache
def resolved(name: str) -> dict[str, Any]:
    """A configuration with nothing left open, by dotted names; the model's options by their own."""
    run = run_config(name, {})
    options = model_entry(run.model.registered).config.with_options(**run.model.options).to_dict()
    found = {f"nms.{key}": value for key, value in dataclasses.asdict(resolve_nms(options.pop("nms"))).items()}
    content = dataclasses.asdict(dataclasses.replace(run, output=None))
    content["model"]["options"] = None
    for section, values in content.items():
        flat = values if isinstance(values, dict) else {"": values}
        found |= {f"{section}: {key}": value for key, value in flat.items()}
    return {**found, **options}


def differences(name: str, other: str) -> dict[str, Any]:
    mine, theirs = resolved(name), resolved(other)
    assert mine.keys() == theirs.keys()
    return {key: value for key, value in mine.items() if theirs[key] != value}


@pytest.mark.parametrize(("name", "figure", "beside", "changes"), ROWS)
def test_a_row_changes_what_the_paper_says_and_nothing_else(
    name: str, figure: float, beside: str, changes: dict[str, Any]
) -> None:
    assert differences(name, beside) == changes
    if name.startswith("ablations/"):
        assert f"{figure:.1f}" in find_config(name).read_text(encoding="utf-8").split("base:")[0]


def test_every_file_is_a_row() -> None:
    rows = {name for row in ROWS for name in (row[0], row[2])}
    assert {name for name in list_configs() if name.startswith((PADET, LITE))} <= rows


def test_a_difference_anywhere_is_seen() -> None:
    found = differences("refinedetlite320_res2netlite72_coco_plusplus", f"{LITE}all")
    assert found == {"optim: lr": 0.01, "optim: warmup_iterations": 1000}
