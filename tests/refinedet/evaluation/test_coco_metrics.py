"""COCO metrics: by hand, against plain pycocotools, and what pycocotools alone fails at."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinedet.evaluation import ImageDetections, coco_evaluate, to_coco_results

from .scenes import make_record, make_scene, make_truth

NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def test_one_object_by_hand():
    # IoU 0.72 passes the thresholds 0.50, 0.55, 0.60, 0.65 and 0.70 of ten; 100 x 100 is large.
    truth = make_truth([(1, 1, [0, 0, 100, 100])])
    metrics = coco_evaluate(truth, [make_record(1, (1, 0.9, [0, 0, 100, 72]))])
    expected = dict.fromkeys(NAMES, 0.5) | {"AP50": 1.0, "AP75": 0.0}
    expected |= dict.fromkeys(("APs", "APm", "ARs", "ARm"))
    assert {name: metrics[name] for name in NAMES} == pytest.approx(expected)
    assert metrics["per_class"] == {
        "a": {"AP": pytest.approx(0.5), "AP50": pytest.approx(1), "objects": 1, "detections": 1}
    }
    assert (metrics["images"], metrics["objects"], metrics["detections"]) == (1, 1, 1)


def test_half_of_the_objects_found():
    # precision 1 up to recall 0.5: 51 of the 101 recalls
    truth = make_truth([(1, 1, [0, 0, 40, 40]), (2, 1, [0, 0, 40, 40])])
    metrics = coco_evaluate(truth, [make_record(1, (1, 0.9, [0, 0, 40, 40]))])
    assert metrics["AP50"] == pytest.approx(51 / 101)
    assert metrics["AR100"] == pytest.approx(0.5)


def test_recall_at_one_ten_hundred():
    boxes = [[50.0 * i, 0, 50.0 * i + 40, 40] for i in range(20)]
    truth = make_truth([(1, 1, box) for box in boxes])
    record = make_record(1, *((1, 0.9 - 0.01 * i, box) for i, box in enumerate(boxes)))
    metrics = coco_evaluate(truth, [record])
    assert [metrics[n] for n in ("AR1", "AR10", "AR100")] == pytest.approx([0.05, 0.5, 1.0])
    fewer = coco_evaluate(truth, [record], max_detections=(2, 5, 10))
    assert [fewer[n] for n in ("AR2", "AR5", "AR10")] == pytest.approx([0.1, 0.25, 0.5])
    assert fewer["AP"] == pytest.approx(51 / 101)


def test_crowd_takes_detections_without_judging_them():
    truth = make_truth([(1, 1, [0, 0, 40, 40]), (1, 1, [100, 0, 300, 200], {"iscrowd": 1})])
    inside = [(1, 0.9, [110, 10, 150, 50]), (1, 0.8, [160, 10, 200, 50])]
    metrics = coco_evaluate(truth, [make_record(1, *inside, (1, 0.5, [0, 0, 40, 40]))])
    assert metrics["AP"] == pytest.approx(1.0)
    assert metrics["objects"] == 1


def test_nothing_to_measure_is_none_not_minus_one():
    truth = make_truth([(1, 1, [0, 0, 40, 40])], images=[1, 2], names=("a", "b"))
    metrics = coco_evaluate(truth, [make_record(1, (2, 0.9, [0, 0, 40, 40]))])
    assert metrics["per_class"]["b"] == {"AP": None, "AP50": None, "objects": 0, "detections": 1}
    assert metrics["APl"] is None and metrics["ARl"] is None
    assert metrics["AP"] == 0.0
    json.dumps(metrics, allow_nan=False)


def test_empty_results_images_and_classes():
    truth = make_truth([(1, 1, [0, 0, 40, 40])], images=[1, 2])
    assert coco_evaluate(truth, [])["AP"] == 0.0
    assert coco_evaluate(truth, [make_record(2)])["AR100"] == 0.0
    without = coco_evaluate(make_truth([], images=[1]), [make_record(1, (1, 0.9, [0, 0, 4, 4]))])
    assert without["AP"] is None and without["detections"] == 1
    assert coco_evaluate(make_truth([], images=[]), [])["AP"] is None
    nothing = coco_evaluate({"images": [], "annotations": [], "categories": []}, [])
    assert nothing["AP"] is None and nothing["per_class"] == {}


def test_ids_that_pycocotools_trips_over():
    # annotation ids from 0 (or repeated), image ids of both kinds, categories far apart
    truth = make_truth([("b", 1, [0, 0, 40, 40]), (7, 1, [0, 0, 40, 40])], images=["b", 7])
    for entry in truth["annotations"]:
        entry["id"] = 0
        entry["category_id"] = 90
    truth["categories"] = [{"id": 90, "name": "toothbrush"}]
    records = [make_record("b", (1, 0.9, [0, 0, 40, 40])), make_record(7, (1, 0.8, [0, 0, 40, 40]))]
    assert coco_evaluate(truth, records)["AP"] == pytest.approx(1.0)
    results = to_coco_results(records, [90])
    assert coco_evaluate(truth, results)["AP"] == pytest.approx(1.0)


def test_area_of_the_annotation_decides_its_size():
    truth = make_truth([(1, 1, [0, 0, 40, 40], {"area": 900.0})])  # the box alone would be medium
    metrics = coco_evaluate(truth, [make_record(1, (1, 0.9, [0, 0, 40, 40]))])
    assert metrics["APs"] == pytest.approx(1.0) and metrics["APm"] is None


def test_quiet_unless_asked_and_inputs_untouched(capsys):
    truth = make_truth([(1, 1, [0, 0, 40, 40])])
    before = copy.deepcopy(truth)
    record = make_record(1, (1, 0.9, [0, 0, 40, 40]))
    coco_evaluate(truth, [record])
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""
    coco_evaluate(truth, [record], verbose=True)
    assert "DONE" in capsys.readouterr().out
    assert truth == before


def test_ground_truth_from_a_file(tmp_path):
    truth = make_truth([(1, 1, [0, 0, 40, 40])])
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    records = [make_record(1, (1, 0.9, [0, 0, 40, 40]))]
    assert coco_evaluate(path, records) == coco_evaluate(str(path), records)
    assert coco_evaluate(path, records)["AP"] == pytest.approx(1.0)


def test_wrong_arguments_are_named():
    truth = make_truth([(1, 1, [0, 0, 40, 40])])
    record = make_record(1, (1, 0.9, [0, 0, 40, 40]))
    with pytest.raises(ValueError, match=r"max_detections: expected three ascending .*, 10\)"):
        coco_evaluate(truth, [], max_detections=(1, 100, 10))
    with pytest.raises(ValueError, match=r"detections\[1\]: image 1: comes twice"):
        coco_evaluate(truth, [record, record])
    with pytest.raises(ValueError, match=r"detections\[0\]: image 9: not in the ground truth"):
        coco_evaluate(truth, [make_record(9)])
    with pytest.raises(ValueError, match=r"labels: expected 1..1, got 4"):
        coco_evaluate(truth, [make_record(1, (4, 0.9, [0, 0, 40, 40]))])
    with pytest.raises(TypeError, match=r"detections\[0\]: expected ImageDetections .* got int"):
        coco_evaluate(truth, [3])
    with pytest.raises(TypeError, match="got both"):
        coco_evaluate(truth, [record, *to_coco_results([record])])


def test_what_other_threads_print_is_seen(monkeypatch, capsys):
    from pycocotools.cocoeval import COCOeval

    truth = make_truth([(1, 1, [0, 0, 40, 40])])
    record = make_record(1, (1, 0.9, [0, 0, 40, 40]))
    inside, go_on = threading.Barrier(3, timeout=60), threading.Barrier(3, timeout=60)
    accumulate = COCOeval.accumulate

    def wait_first(self):
        inside.wait()
        go_on.wait()
        accumulate(self)

    monkeypatch.setattr(COCOeval, "accumulate", wait_first)
    threads = [
        threading.Thread(target=coco_evaluate, args=(truth, [record]), kwargs={"verbose": verbose})
        for verbose in (False, True)
    ]
    for thread in threads:
        thread.start()
    inside.wait()
    print("in between")
    go_on.wait()
    for thread in threads:
        thread.join()
    print("after")
    lines = capsys.readouterr().out.splitlines()
    assert {"in between", "after"} <= set(lines)
    assert lines.count("Running per image evaluation...") == 1


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_equals_pycocotools_used_plainly(seed):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, records = make_scene(seed, jitter=8.0)
    if not truth["annotations"]:
        return
    plain = copy.deepcopy(truth)
    for i, entry in enumerate(plain["annotations"], start=1):
        entry.update(id=i, iscrowd=0, area=entry["bbox"][2] * entry["bbox"][3])
    with contextlib.redirect_stdout(io.StringIO()):
        side = COCO()
        side.dataset = plain
        side.createIndex()
        evaluation = COCOeval(side, side.loadRes(to_coco_results(records)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    expected = [None if value == -1 else pytest.approx(value) for value in evaluation.stats]
    metrics = coco_evaluate(truth, records)
    assert [metrics[name] for name in NAMES] == expected


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_bounds_perfection_and_false_positives(seed):
    truth, records = make_scene(seed)
    metrics = coco_evaluate(truth, records)
    assert all(metrics[name] is None or 0 <= metrics[name] <= 1 for name in NAMES)
    first = records[0]
    worse = ImageDetections(
        first.image_id,
        np.concatenate([first.boxes, [[900, 900, 950, 950]]]),
        np.concatenate([first.scores, [-1.0]]),
        np.concatenate([first.labels, [1]]),
    )
    after = coco_evaluate(truth, [worse, *records[1:]])
    if metrics["AP"] is None:
        assert after["AP"] is None
        return
    assert after["AP"] <= metrics["AP"] + 1e-12
    rows = {}
    for entry in truth["annotations"]:
        x, y, w, h = entry["bbox"]
        rows.setdefault(entry["image_id"], []).append((entry["category_id"], 0.5, [x, y, x + w, y + h]))
    perfect = [make_record(image_id, *found) for image_id, found in rows.items()]
    assert coco_evaluate(truth, perfect)["AP"] == pytest.approx(1.0)
