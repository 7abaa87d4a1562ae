"""The configurations that come along: every one builds its model, and every row of the papers' ablations has one."""

from __future__ import annotations

import json
import re
from functools import lru_cache

import pytest
import torch

import refinedet
from refinedet.config_files import RECIPES, find_config, list_configs, load_config
from refinedet.data import TrainPipeline
from refinedet.engine.config import DataConfig, EvalConfig, OptimConfig, SplitConfig, TrainConfig
from refinedet.engine.data import augment_options
from refinedet.engine.optim import parameter_groups

from .test_ablations import TABLES as COMPARED

LITE = "refinedetlite320_res2netlite72_coco"
NO_FILTER = {"theta": 1.0, "filtering": "none"}
MINED = {"odm_negative_ratio": 3.0}
# by table: the figure that the paper gives for a row, and the configuration of the row; the tables of RefineDet and
# EFGRNet are in test_ablations
TABLES = {
    "RefineDetLite, COCO": {
        24.7: "ablations/refinedetlite320_baseline",
        25.7: "ablations/refinedetlite320_res2block",
        26.8: LITE,
        27.2: "ablations/refinedetlite320_soft_nms",
        27.4: "ablations/refinedetlite320_class_weights",
        27.5: "ablations/refinedetlite320_iou_guided",
        27.7: "ablations/refinedetlite320_multi_task",
        28.2: "ablations/refinedetlite320_giou",
        28.5: "ablations/refinedetlite320_giou_class_weights",
        28.6: "ablations/refinedetlite320_giou_iou_guided",
        28.7: "ablations/refinedetlite320_giou_multi_task",
        29.0: "ablations/refinedetlite320_giou_class_weights_iou_guided",
        29.2: "ablations/refinedetlite320_giou_class_weights_multi_task",
        29.3: "ablations/refinedetlite320_giou_iou_guided_multi_task",
        29.6: "ablations/refinedetlite320_all",
    },
    "PADet, parts, COCO": {
        29.6: "ablations/padet384_baseline",
        31.0: "ablations/padet384_score_only",
        30.6: "ablations/padet384_box_only",
        31.7: "ablations/padet384_no_alignment",
        34.8: "ablations/padet384_disentangled",
    },
    "PADet, alignment, COCO": {
        31.7: "ablations/padet384_no_alignment",
        32.8: "ablations/padet384_implicit",
        33.6: "ablations/padet384_location",
        33.4: "ablations/padet384_size",
        34.1: "ablations/padet384_explicit",
        34.8: "ablations/padet384_disentangled",
    },
}
# what the rows change; those of RefineDetLite are in its own tests
OPTIONS = {
    "ablations/padet384_baseline": {**NO_FILTER, **MINED, "promotion": "none", "alignment": "none"},
    "ablations/padet384_score_only": {"promotion": "score", "alignment": "none"},
    "ablations/padet384_box_only": {**NO_FILTER, **MINED, "promotion": "box", "alignment": "none"},
    "ablations/padet384_no_alignment": {"alignment": "none"},
    "ablations/padet384_implicit": {"alignment": "implicit"},
    "ablations/padet384_location": {"alignment": "location"},
    "ablations/padet384_size": {"alignment": "size"},
    "ablations/padet384_explicit": {"alignment": "explicit"},
    "ablations/padet384_disentangled": {"alignment": "disentangled"},
}


@lru_cache
def on_meta(name, options, classes):
    with torch.device("meta"):
        return refinedet.create_model(name, classes, **json.loads(options))


def build(name):
    file = load_config(name)
    classes = 81 if file["data"].get("format") == "coco" else 21
    return on_meta(file["model"]["name"], json.dumps(file["model"].get("options", {})), classes)


@pytest.mark.parametrize("name", [name for name in list_configs() if name not in RECIPES.values()])
def test_every_configuration_builds_its_model(name):
    file, model = load_config(name), build(name)
    for option, value in file["model"].get("options", {}).items():
        assert model.spec.options[option] == value
    size = re.match(r"(?:ablations/)?[a-z]+(\d{3})_", name)
    assert size is None or int(size[1]) == model.config.input_size
    data = {**file["data"]}
    for part in ("train", "val", "test"):
        if part in data:
            data[part] = SplitConfig(**data[part])
    data, length = DataConfig(**data), TrainConfig(**file["train"])
    OptimConfig(**file["optim"]), EvalConfig(**file.get("evaluation", {}))
    length.check_length()
    TrainPipeline(model.config.input_size, **augment_options(data.augment))
    found = name == "own_data"  # whose parts are looked for in the data
    assert (data.train != SplitConfig() and data.val != SplitConfig()) != found, "the parts of the data set are missing"


def test_every_row_of_the_ablations_has_a_file_and_every_file_a_row():
    rows = {config for table in TABLES.values() for config in table.values()}
    rows |= {row.config for table in COMPARED.values() for row in table}
    assert rows <= set(list_configs())
    assert {name for name in list_configs() if name.startswith("ablations/")} <= rows


@pytest.mark.parametrize("table", TABLES)
def test_rows_of_a_table_are_different_models_or_trainings(table):
    seen = [
        json.dumps([load_config(row)["model"], load_config(row)["optim"]], sort_keys=True)
        for row in TABLES[table].values()
    ]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("row", OPTIONS)
def test_rows_change_what_they_are_about_and_nothing_else(row):
    file = load_config(row)
    assert file["model"]["options"] == OPTIONS[row]
    whole = load_config("padet384_vgg16_coco")
    for part in ("data", "optim", "train", "evaluation"):
        assert file[part] == whole[part]


@pytest.mark.parametrize(
    ("table", "row", "figure"), [(table, row, figure) for table, rows in TABLES.items() for figure, row in rows.items()]
)
def test_a_rows_file_names_the_figure_of_the_paper(table, row, figure):
    if row.startswith("ablations/"):
        head = find_config(row).read_text(encoding="utf-8").split("base:")[0]
        assert f"{figure:.1f}" in head


@pytest.mark.parametrize(
    ("name", "milestones", "iterations", "batch"),
    [
        ("refinedet320_vgg16_voc07", [80, 100], 120, 32),
        ("refinedet512_vgg16_voc12", [160, 200], 240, 32),
        ("refinedet320_vgg16_coco", [280, 360], 400, 32),
        ("refinedet320_resnet101_coco", [280, 360], 400, 32),
        ("refinedet512_resnet101_coco", [400, 480], 540, 20),
        ("refinedet512_resnext101_coco", [400, 480], 540, 20),
    ],
)
def test_schedules_of_refinedet(name, milestones, iterations, batch):
    file = load_config(name)
    optim, length = OptimConfig(**file["optim"]), TrainConfig(**file["train"])
    assert (optim.lr, optim.momentum, optim.weight_decay, optim.gamma) == (1e-3, 0.9, 5e-4, 0.1)
    assert (optim.milestones, optim.unit) == ([1000 * m for m in milestones], "iterations")
    assert length.iterations == 1000 * iterations and file["data"]["batch_size"] == batch
    assert (optim.warmup_iterations, optim.bias_lr_factor, optim.decay_bias) == (0, 2, False)


@pytest.mark.parametrize("name", [n for n in list_configs() if n.removeprefix("ablations/").startswith("padet")])
def test_padet_is_trained_by_plain_sgd(name):
    optim = OptimConfig(**load_config(name)["optim"])
    assert (optim.optimizer, optim.lr, optim.momentum, optim.weight_decay) == ("sgd", 0.002, 0.9, 5e-4)
    groups = parameter_groups(build(name), optim)
    decays = {(group["lr"], group["weight_decay"]) for group in groups}
    assert decays == {(0.002, 5e-4)}, "one rate and one decay for all parameters"


@pytest.mark.parametrize("name", [n for n in list_configs() if "mobilenet" in n or "shufflenet" in n])
def test_comparison_rows_train_as_refinedetlite(name):
    file, lite = load_config(name), load_config(LITE)
    for part in ("data", "optim", "train", "evaluation"):
        assert file[part] == lite[part]


@pytest.mark.parametrize("name", [n for n in list_configs() if n.removeprefix("ablations/").startswith("efgrnet")])
def test_efgrnets_released_recipes_have_its_augmentation_and_rules(name):
    """COCO's are the released code's, with its rules of the loss; those of the paper's text and of VOC, which it does
    not have, keep SSD's and Caffe's."""
    augment, rules = load_config(name)["data"].get("augment", {}), build(name).criterion.config
    as_released = (rules.matching, rules.filtering, rules.empty_batch_negatives) == ("argmax", "peers", 45)
    assert as_released == name.endswith("_coco")
    if not name.endswith("_coco"):
        assert augment == {}
        return
    pipeline = TrainPipeline(build(name).config.input_size, **augment_options(augment))
    assert pipeline.steps == ("crop", "distort", "expand", "flip", "resize") and pipeline.crop_objects == "all"
    assert (pipeline.expand_probability, pipeline.expand_shape, pipeline.keep_objects) == (0.6, (0.5, 2.0), True)
    assert pipeline.min_object == pytest.approx(0.01 * pipeline.size)


def test_every_paper_model_has_a_configuration_for_coco():
    papers = {name for name in refinedet.list_models() if not name.endswith(("_small", "_efficientnet_lite0"))}
    assert {load_config(name)["model"]["name"] for name in list_configs() if name.endswith("_coco")} >= papers
