from __future__ import annotations

import pytest

import refinedet
from refinedet.cli import main
from refinedet.detectors.published import PAPERS, PUBLISHED, published_cell, sources


def test_every_figure_is_of_a_registered_model():
    assert set(PUBLISHED) <= set(refinedet.list_models())
    without = set(refinedet.list_models()) - set(PUBLISHED)
    ours = {*refinedet.list_models("*_small"), *refinedet.list_models("*_efficientnet_lite0")}
    assert without == {"refinedet512_resnext101", *ours}


def test_figures_are_percent_with_a_metric_that_fits_their_data():
    for rows in PUBLISHED.values():
        for row in rows:
            assert 10 < row.value < 90 and row.paper in PAPERS and row.table
            assert (row.dataset, row.metric) in {("VOC07 test", "mAP"), ("VOC12 test", "mAP"), ("COCO test-dev", "AP")}


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
    assert "AP 33.2 on COCO test-dev: EFGRNet, results on COCO test-dev (https://doi.org/" in capsys.readouterr().out
    assert main(["info", "padet192_small"]) == 0
    assert "published:\n  nothing\n" in capsys.readouterr().out
