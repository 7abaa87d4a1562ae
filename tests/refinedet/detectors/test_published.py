from __future__ import annotations

import pytest

import refinedet
from refinedet.cli import main
from refinedet.complexity import measure
from refinedet.detectors.published import COCO_PARTS, PAPERS, PUBLISHED, published_speeds
from refinedet.detectors.published_text import published_cell, published_lines, sources


def test_every_figure_is_of_a_registered_model():
    assert set(PUBLISHED) <= set(refinedet.list_models())
    without = set(refinedet.list_models()) - set(PUBLISHED)
    ours = {*refinedet.list_models("*_small"), *refinedet.list_models("*_efficientnet_lite0")}
    assert without == {"refinedet512_resnext101", *ours}


ACCURACY = [row for rows in PUBLISHED.values() for row in rows if row.metric != "speed"]
SPEEDS = [(name, row) for name, rows in PUBLISHED.items() for row in rows if row.metric == "speed"]


def _only(name, **fields):
    (row,) = [row for row in PUBLISHED[name] if all(getattr(row, key) == value for key, value in fields.items())]
    return row


def test_accuracies_are_percent_with_a_metric_that_fits_their_data():
    for row in ACCURACY:
        assert 10 < row.value < 90 and row.paper in PAPERS and row.table and row.unit == "%" and not row.device
        assert (row.dataset, row.metric) in {("VOC07 test", "mAP"), ("VOC12 test", "mAP"), ("COCO test-dev", "AP")}


def test_the_mean_over_classes_is_the_printed_map():
    rows = [row for row in ACCURACY if row.metric == "mAP" and row.parts]
    assert len(rows) == 16  # two sizes, VOC07 and VOC12, one size and several, with COCO and without
    for row in rows:
        assert len(row.parts) == 20
        assert sum(row.parts) / 20 == pytest.approx(row.value, abs=0.06)  # both were rounded


def test_parts_of_coco_are_in_order():
    rows = [row for row in ACCURACY if row.metric == "AP"]
    assert len(rows) == 22
    for row in rows:
        ap50, ap75, small, medium, large = row.parts
        assert ap50 > row.value and ap50 > ap75 and small < medium < large, row
    assert len(COCO_PARTS) == 5


def test_no_figure_stands_twice():
    for name, rows in PUBLISHED.items():
        keys = [(row.dataset, row.metric, row.conditions, row.device) for row in rows]
        assert len(set(keys)) == len(keys), name


@pytest.mark.parametrize(
    ("name", "dataset", "pretrained", "multi_scale", "value"),
    [
        ("refinedet320_vgg16", "VOC07 test", "", True, 83.1),
        ("refinedet512_vgg16", "VOC12 test", "", True, 83.5),
        ("refinedet320_vgg16", "VOC07 test", "COCO", False, 84.0),
        ("refinedet512_vgg16", "VOC12 test", "COCO", False, 85.0),
        ("refinedet320_vgg16", "VOC12 test", "COCO", True, 86.0),
        ("refinedet512_vgg16", "VOC07 test", "COCO", True, 85.8),
        ("refinedet320_vgg16", "COCO test-dev", "", True, 35.2),
        ("refinedet512_vgg16", "COCO test-dev", "", True, 37.6),
        ("refinedet320_resnet101", "COCO test-dev", "", True, 38.6),
        ("refinedet512_resnet101", "COCO test-dev", "", True, 41.8),
        ("efgrnet512_resnet101", "COCO test-dev", "", True, 43.4),
    ],
)
def test_multi_scale_and_pretrained_rows(name, dataset, pretrained, multi_scale, value):
    metric = "AP" if "COCO" in dataset else "mAP"
    row = _only(name, dataset=dataset, metric=metric, pretrained=pretrained, multi_scale=multi_scale)
    assert row.value == value


@pytest.mark.parametrize(
    ("name", "paper", "value", "unit", "device"),
    [
        ("refinedet320_vgg16", "RefineDet", 40.3, "images/s", "Titan X (Maxwell)"),
        ("refinedet512_vgg16", "RefineDet", 24.1, "images/s", "Titan X (Maxwell)"),
        ("refinedet512_vgg16", "EFGRNet", 39, "ms", "Titan X (Pascal)"),
        ("efgrnet320_vgg16", "EFGRNet", 21, "ms", "Titan X (Pascal)"),
        ("efgrnet512_resnet101", "EFGRNet", 46, "ms", "Titan X (Pascal)"),
        ("padet384_vgg16", "PADet", 62.5, "images/s", "GTX 1080 Ti"),
        ("padet512_resnet101", "PADet", 28.6, "images/s", "GTX 1080 Ti"),
        ("refinedet320_mobilenet_v1", "RefineDetLite", 168, "ms", "i7-6700"),
        ("refinedet320_shufflenet_v2", "RefineDetLite", 129, "ms", "i7-6700"),
    ],
)
def test_speeds(name, paper, value, unit, device):
    (row,) = [row for row in published_speeds(name) if row.paper.name == paper]
    assert (row.value, row.unit) == (value, unit) and device in row.device


def test_speeds_say_whose_classes_and_on_what():
    assert len({name for name, _ in SPEEDS}) == 14
    for _, row in SPEEDS:
        assert row.dataset in ("VOC07 test", "COCO test-dev") and row.device and row.unit in ("images/s", "ms")
        assert not row.multi_scale and not row.pretrained
    assert published_speeds("efgrnet320_vgg16")[0].images_per_second == pytest.approx(1000 / 21)
    assert published_speeds("padet384_vgg16")[0].images_per_second == 62.5
    with pytest.raises(ValueError, match="metric: expected a speed, got 'mAP'"):
        _ = PUBLISHED["padet384_vgg16"][0].images_per_second


@pytest.mark.parametrize(
    ("name", "boxes"), [("refinedet320_vgg16", 6375), ("refinedet512_vgg16", 16320), ("padet384_vgg16", 18400)]
)
def test_boxes_of_the_models_whose_speed_is_given(name, boxes):
    assert measure(name).anchors == boxes  # the papers' totals beside their speeds


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("refinedet320_vgg16", "VOC07 80.0, VOC12 78.1, COCO 29.4 (RefineDet)"),
        ("refinedet320_mobilenet_v1", "COCO 24.3 (RefineDetLite)"),
        ("refinedetlite320_res2netlite72", 'COCO 26.8, COCO 29.6 "++" (RefineDetLite)'),
        ("padet512_resnet101", "COCO 40.0 (PADet)"),
        ("refinedet320_small", "–"),
    ],
)
def test_cells(name, cell):
    assert published_cell(name) == cell


def test_every_paper_has_an_address():
    assert all(f"[{paper.name}]({paper.url})" in sources() for paper in PAPERS)


def test_info_tells_where_a_figure_stands(capsys):
    assert main(["info", "efgrnet320_vgg16"]) == 0
    out = capsys.readouterr().out
    assert "AP 33.2 on COCO test-dev: EFGRNet, results on COCO test-dev (https://doi.org/" in out
    assert "    AP50 53.4, AP75 35.4, small 13.4, medium 37.1, large 47.9\n" in out
    assert "speed 21 ms on Titan X (Pascal), PyTorch 0.4.1: EFGRNet, table 2 (https" in out
    assert main(["info", "padet192_small"]) == 0
    assert "published:\n  nothing\n" in capsys.readouterr().out


def test_lines_say_under_which_conditions():
    lines = published_lines("refinedet512_vgg16")
    assert any(line.startswith("mAP 85.8 multi-scale, COCO-pretrained on VOC07 test: RefineDet") for line in lines)
    assert any(line.startswith("  aeroplane 88.7, bicycle 87.0, ") for line in lines)
    assert any(line.startswith('speed 131 ms "++" on') for line in published_lines("refinedetlite320_res2netlite72"))
