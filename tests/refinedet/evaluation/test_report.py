"""The per-class table and metrics.json."""

from __future__ import annotations

import json
import platform

import numpy as np
import pytest

from refinedet.evaluation import coco_evaluate, format_table, voc_evaluate, write_metrics

from .scenes import make_record, make_truth


@pytest.fixture(scope="module")
def case():
    truth = make_truth([(1, 1, [0, 0, 50, 50]), (2, 2, [0, 0, 50, 50])], names=("cat", "wild boar", "none"))
    records = [make_record(1, (1, 0.9, [0, 0, 50, 50])), make_record(2, (1, 0.5, [0, 0, 50, 50]))]
    return truth, records


def test_coco_table(case):
    assert format_table(coco_evaluate(*case)).splitlines() == [
        "class         AP   AP50  objects  detections",
        "--------------------------------------------",
        "cat        100.0  100.0        1           2",
        "wild boar    0.0    0.0        1           0",
        "none           -      -        0           0",
        "--------------------------------------------",
        "all (3)     50.0   50.0        2           2",
        "",
        "  AP  AP50  AP75  APs   APm  APl   AR1  AR10  AR100  ARs   ARm  ARl",
        "50.0  50.0  50.0    -  50.0    -  50.0  50.0   50.0    -  50.0    -",
        "in percent",
    ]


def test_voc_table(case):
    lines = format_table(voc_evaluate(*case)).splitlines()
    assert lines[0].split() == ["class", "AP", "objects", "difficult", "detections", "TP", "FP"]
    assert lines[2].split() == ["cat", "100.0", "1", "0", "2", "1", "1"]
    assert lines[6].split() == ["all", "(3)", "50.0", "2", "0", "2", "1", "1"]
    assert lines[-3:] == [" mAP", "50.0", "in percent"]


def test_table_without_classes():
    nothing = coco_evaluate({"images": [], "annotations": [], "categories": []}, [])
    assert format_table(nothing).splitlines()[0] == "class"


def test_metrics_file(case, tmp_path):
    metrics = coco_evaluate(*case)
    written = write_metrics(tmp_path / "run" / "metrics.json", metrics, model="tiny", seconds=1.5)
    read = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert read == written
    assert read["AP"] == metrics["AP"] and read["AP50"] == pytest.approx(0.5)
    assert read["per_class"]["none"]["AP"] is None
    assert (read["model"], read["seconds"]) == ("tiny", 1.5)
    assert read["versions"]["python"] == platform.python_version()
    assert read["versions"]["numpy"] == np.__version__


def test_metrics_file_refuses_what_json_has_not(case, tmp_path):
    metrics = coco_evaluate(*case)
    for clash in ({"AP": 1}, {"versions": {}}):
        with pytest.raises(ValueError, match=f"extra: '{next(iter(clash))}' is a key of the metrics"):
            write_metrics(tmp_path / "m.json", metrics, **clash)
    with pytest.raises(ValueError, match="JSON"):
        write_metrics(tmp_path / "m.json", metrics, seconds=float("nan"))
    assert not (tmp_path / "m.json").exists()
    write_metrics(tmp_path / "m.json", metrics, images=metrics["images"])  # the same value is none
