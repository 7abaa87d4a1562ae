"""One configuration file for every row of RefineDetLite's ablation table."""

from __future__ import annotations

import pytest
import torch

import refinedet
from refinedet.config_files import list_configs, load_config
from refinedet.engine import OptimConfig, TrainConfig
from refinedet.nms_config import resolve_nms

NAME = "refinedetlite320_res2netlite72"
ABLATIONS = "ablations/refinedetlite320_"
G = {"box_loss": "giou"}
C = {"class_weights": "data"}
I = {"soft_label_alpha": 0.25, "anchor_weight_beta": 0.9}  # noqa: E741
M = {"task_balance": "uncertainty"}
S = {"nms": "coco"}
ROWS = {
    ABLATIONS + "baseline": {"block": "residual", "head": "conv3x3"},
    ABLATIONS + "res2block": {"head": "conv3x3"},
    NAME + "_coco": {},
    ABLATIONS + "soft_nms": S,
    ABLATIONS + "class_weights": C | S,
    ABLATIONS + "iou_guided": I | S,
    ABLATIONS + "multi_task": M | S,
    ABLATIONS + "giou": G | S,
    ABLATIONS + "giou_class_weights": G | C | S,
    ABLATIONS + "giou_iou_guided": G | I | S,
    ABLATIONS + "giou_multi_task": G | M | S,
    ABLATIONS + "giou_class_weights_iou_guided": G | C | I | S,
    ABLATIONS + "giou_iou_guided_multi_task": G | I | M | S,
    ABLATIONS + "giou_class_weights_multi_task": G | C | M | S,
    ABLATIONS + "all": G | C | I | M | S,
}
PLUSPLUS = NAME + "_coco_plusplus"


def content(row):
    return load_config(row)


def test_every_row_has_its_file_and_every_file_its_row():
    assert {name for name in list_configs() if name.startswith((NAME, ABLATIONS))} == {*ROWS, PLUSPLUS}


@pytest.mark.parametrize("row", ROWS)
def test_the_row_builds_and_is_what_its_name_says(row):
    file = content(row)
    assert file["model"].get("options", {}) == ROWS[row]
    with torch.device("meta"):
        model = refinedet.create_model(file["model"]["name"], 81, **file["model"].get("options", {}))
    assert model.spec.name == NAME
    soft = resolve_nms("coco")
    assert (model.nms == soft) == ("nms" in ROWS[row]) and (soft.method, soft.iou_threshold) == ("linear", 0.3)
    assert (model.criterion.balance is not None) == (ROWS[row].get("task_balance") == "uncertainty")


@pytest.mark.parametrize("row", [*ROWS, PLUSPLUS])
def test_schedule_of_the_paper(row):
    file = content(row)
    optim, length = OptimConfig(**file["optim"]), TrainConfig(**file["train"])
    rate, warmup = (0.01, 1000) if row == PLUSPLUS else (0.004, 0)
    assert (optim.lr, optim.warmup_iterations) == (rate, warmup)
    assert (optim.optimizer, optim.momentum, optim.weight_decay, optim.gamma) == ("sgd", 0.9, 5e-4, 0.1)
    assert (optim.unit, optim.milestones, length.epochs) == ("epochs", [150, 200], 250)
    assert file["data"]["batch_size"] == 128 and file["output"] == f"runs/{row.removeprefix('ablations/')}"


def test_plusplus_is_the_last_row_at_the_higher_rate():
    best, row = content(PLUSPLUS), content(ABLATIONS + "all")
    for part in ("model", "data", "train", "evaluation"):
        assert best[part] == row[part]
    assert {**row["optim"], "lr": 0.01, "warmup_iterations": 1000} == best["optim"]
