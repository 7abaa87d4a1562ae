"""VOC average precision against cases done by hand, a slow walk over the detections, and COCO."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinedet.evaluation import (
    ImageDetections,
    average_precision,
    coco_evaluate,
    precision_recall_curves,
    voc_evaluate,
)

from .scenes import make_record, make_scene, make_truth

SEEDS = st.integers(0, 10_000)


@pytest.fixture(scope="session")
def five_detections():
    """Three objects and a difficult one; hit, duplicate, difficult, hit, nothing, by score."""
    truth = make_truth(
        [
            ("p", 1, [10, 10, 50, 50]),
            ("p", 1, [100, 10, 140, 50]),
            ("p", 1, [200, 10, 240, 50], {"difficult": 1}),
            ("q", 1, [10, 10, 50, 50]),
        ]
    )
    records = [
        make_record(
            "p",
            (1, 0.5, [300, 200, 340, 240]),
            (1, 0.9, [11, 10, 51, 50]),
            (1, 0.8, [10, 11, 50, 51]),
            (1, 0.7, [201, 11, 241, 51]),
        ),
        make_record("q", (1, 0.6, [10, 12, 50, 52])),
    ]
    return truth, records


def test_curve_by_hand(five_detections):
    curve = precision_recall_curves(*five_detections)["a"]
    np.testing.assert_array_equal(curve.scores, [0.9, 0.8, 0.6, 0.5])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 1 / 2])
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert (curve.objects, curve.ignored, curve.detections) == (3, 1, 5)
    assert (curve.true_positives, curve.false_positives) == (2, 2)


def test_area_and_eleven_points_by_hand(five_detections):
    # area: 1/3 at precision 1, 1/3 at 2/3. Eleven points: four at 1, three at 2/3, four at 0.
    assert voc_evaluate(*five_detections, method="area")["mAP"] == pytest.approx(5 / 9)
    assert voc_evaluate(*five_detections, method="11point")["mAP"] == pytest.approx(6 / 11)


def test_report_has_counts(five_detections):
    metrics = voc_evaluate(*five_detections)
    assert metrics["objects"] == 3 and metrics["detections"] == 5 and metrics["images"] == 2
    assert metrics["per_class"]["a"] == {
        "AP": pytest.approx(5 / 9),
        "objects": 3,
        "difficult": 1,
        "detections": 5,
        "true_positives": 2,
        "false_positives": 2,
    }


def test_a_taken_object_makes_the_next_detection_false_even_beside_a_free_one():
    # Both detections overlap the first object most; the second object, which the second detection
    # overlaps enough as well, is not looked at.
    truth = make_truth([("p", 1, [0, 0, 100, 100]), ("p", 1, [20, 0, 120, 100])])
    record = make_record("p", (1, 0.9, [0, 0, 100, 100]), (1, 0.8, [8, 0, 108, 100]))
    curve = precision_recall_curves(truth, [record], iou_threshold=0.5)["a"]
    assert (curve.true_positives, curve.false_positives) == (1, 1)


@pytest.mark.parametrize(("pixel_offset", "inclusive", "hits"), [(1, True, 1), (1, False, 0), (0, True, 0)])
def test_pixel_offset_and_equality(pixel_offset, inclusive, hits):
    # pixels 0..9 and 0..4: 50 of 100 with the offset, 36 of 81 without
    truth = make_truth([("p", 1, [0, 0, 9, 9])])
    record = make_record("p", (1, 0.9, [0, 0, 4, 9]))
    curve = precision_recall_curves(truth, [record], pixel_offset=pixel_offset, inclusive=inclusive)["a"]
    assert curve.true_positives == hits


def test_crowd_is_ignored_like_difficult():
    truth = make_truth([("p", 1, [0, 0, 90, 90], {"iscrowd": 1}), ("p", 1, [200, 200, 240, 240])])
    record = make_record("p", (1, 0.9, [0, 0, 90, 90]), (1, 0.8, [200, 200, 240, 240]))
    assert voc_evaluate(truth, [record])["mAP"] == 1.0


def test_classes_without_objects_are_none_and_left_out_of_the_mean():
    truth = make_truth(
        [("p", 1, [0, 0, 40, 40]), ("p", 3, [0, 0, 40, 40], {"difficult": 1})],
        names=("a", "b", "c"),
    )
    record = make_record("p", (1, 0.9, [0, 0, 40, 40]), (2, 0.9, [0, 0, 40, 40]))
    metrics = voc_evaluate(truth, [record])
    assert [row["AP"] for row in metrics["per_class"].values()] == [1.0, None, None]
    assert metrics["mAP"] == 1.0
    assert metrics["per_class"]["b"]["false_positives"] == 1


def test_no_detections_no_objects_no_images():
    truth = make_truth([("p", 1, [0, 0, 40, 40])], images=["p", "q"])
    assert voc_evaluate(truth, [])["mAP"] == 0.0
    assert voc_evaluate(truth, [make_record("q")])["mAP"] == 0.0
    assert voc_evaluate(make_truth([], images=["p"]), [make_record("p")])["mAP"] is None
    assert voc_evaluate(make_truth([], images=[]), [])["mAP"] is None
    assert voc_evaluate({"images": [], "annotations": [], "categories": []}, [])["mAP"] is None


def test_boxes_without_area():
    # without the pixel offset, IoU of two boxes without area is 0, not nan
    truth = make_truth([("p", 1, [5, 5, 5, 5])])
    record = make_record("p", (1, 0.9, [5, 5, 5, 5]))
    assert voc_evaluate(truth, [record], pixel_offset=0)["mAP"] == 0.0
    assert voc_evaluate(truth, [record], pixel_offset=1)["mAP"] == 1.0


def test_eleven_points_reach_a_recall_of_exact_tenths():
    # 3 of 10 found at precision 1: recall 0, 0.1, 0.2 and 0.3 are reached
    assert average_precision(np.array([0.1, 0.2, 0.3]), np.ones(3), "11point") == pytest.approx(4 / 11)
    full = np.arange(1, 11) / 10
    assert average_precision(full, np.ones(10), "11point") == pytest.approx(1.0)


def test_wrong_arguments_are_named():
    truth = make_truth([("p", 1, [0, 0, 9, 9])])
    with pytest.raises(ValueError, match="method: expected 'area' or '11point', got '10point'"):
        voc_evaluate(truth, [], method="10point")
    with pytest.raises(ValueError, match=r"iou_threshold: expected a number in \(0, 1\], got 0"):
        precision_recall_curves(truth, [], iou_threshold=0)
    with pytest.raises(ValueError, match="pixel_offset: expected 0 or above"):
        precision_recall_curves(truth, [], pixel_offset=-1)
    with pytest.raises(ValueError, match="recall: expected ascending"):
        average_precision(np.array([0.5, 0.2]), np.ones(2))
    with pytest.raises(ValueError, match="expected one shape"):
        average_precision(np.array([0.5, 0.2]), np.ones(3))
    with pytest.raises(ValueError, match="method: expected"):
        average_precision(np.array([0.5]), np.ones(1), "auc")
    with pytest.raises(ValueError, match="image 'z': not in the ground truth"):
        voc_evaluate(truth, [make_record("z")])


def _walk(truth, records, label, threshold, offset):
    """The development kit's walk over the detections of a class, one at a time."""

    def iou(a, b):
        w = min(a[2], b[2]) - max(a[0], b[0]) + offset
        h = min(a[3], b[3]) - max(a[1], b[1]) + offset
        if w <= 0 or h <= 0:
            return 0.0
        size = [(c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b)]
        return w * h / (size[0] + size[1] - w * h)

    objects = {}
    positives = 0
    for entry in truth["annotations"]:
        if entry["category_id"] == label:
            x, y, w, h = entry["bbox"]
            found = {"box": (x, y, x + w, y + h), "skip": entry.get("difficult", 0), "taken": False}
            objects.setdefault(entry["image_id"], []).append(found)
            positives += not found["skip"]
    rows = []
    for record in records:
        mine = record.labels == label
        rows += [
            (score, record.image_id, box)
            for score, box in zip(record.scores[mine], record.boxes[mine].tolist(), strict=True)
        ]
    rows.sort(key=lambda row: -row[0])
    tp = fp = 0
    curve = []
    for _, image_id, box in rows:
        best, chosen = 0.0, None
        for candidate in objects.get(image_id, []):
            overlap = iou(box, candidate["box"])
            if overlap > best:
                best, chosen = overlap, candidate
        if best >= threshold:
            if chosen["skip"]:
                continue
            if chosen["taken"]:
                fp += 1
            else:
                tp += 1
                chosen["taken"] = True
        else:
            fp += 1
        curve.append((tp / positives if positives else np.nan, tp / (tp + fp)))
    return np.array(curve).reshape(-1, 2)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, threshold=st.sampled_from([0.3, 0.5, 0.75]), offset=st.sampled_from([0, 1]))
def test_curves_equal_the_walk(seed, threshold, offset):
    truth, records = make_scene(seed, jitter=8.0, difficult=0.2)
    curves = precision_recall_curves(truth, records, iou_threshold=threshold, pixel_offset=offset)
    for label, curve in enumerate(curves.values(), start=1):
        expected = _walk(truth, records, label, threshold, offset)
        np.testing.assert_allclose(curve.recall, expected[:, 0], atol=1e-12)
        np.testing.assert_allclose(curve.precision, expected[:, 1], atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS)
def test_agrees_with_coco_where_objects_stand_apart(seed):
    # COCO samples the same envelope at 101 recalls instead of integrating it: 0.01 and a bit.
    truth, records = make_scene(seed, images=12, apart=True, jitter=5.0)
    voc = voc_evaluate(truth, records, pixel_offset=0)
    coco = coco_evaluate(truth, records)
    for name, row in voc["per_class"].items():
        expected = coco["per_class"][name]["AP50"]
        if expected is None:
            assert row["AP"] is None
        else:
            assert row["AP"] == pytest.approx(expected, abs=0.015)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, method=st.sampled_from(["area", "11point"]))
def test_between_nothing_and_one_and_falls_with_the_threshold(seed, method):
    truth, records = make_scene(seed, apart=True)
    values = []
    for threshold in (0.1, 0.5, 0.7, 0.95):
        value = voc_evaluate(truth, records, method=method, iou_threshold=threshold)["mAP"]
        if value is None:
            return
        values.append(value)
    assert all(0.0 <= value <= 1.0 for value in values)
    assert values == sorted(values, reverse=True)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, method=st.sampled_from(["area", "11point"]))
def test_a_false_positive_below_all_scores_never_helps(seed, method):
    truth, records = make_scene(seed)
    before = voc_evaluate(truth, records, method=method)["mAP"]
    first = records[0]
    worse = ImageDetections(
        first.image_id,
        np.concatenate([first.boxes, [[900, 900, 950, 950]]]),
        np.concatenate([first.scores, [-1.0]]),
        np.concatenate([first.labels, [1]]),
    )
    after = voc_evaluate(truth, [worse, *records[1:]], method=method)["mAP"]
    assert (before is None and after is None) or after <= before + 1e-12


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, method=st.sampled_from(["area", "11point"]))
def test_perfect_detections_score_one_in_any_order(seed, method):
    truth, _ = make_scene(seed)
    rng = np.random.default_rng(seed)
    rows = {}
    for entry in truth["annotations"]:
        x, y, w, h = entry["bbox"]
        row = (entry["category_id"], rng.uniform(), [x, y, x + w, y + h])
        rows.setdefault(entry["image_id"], []).append(row)
    records = [make_record(image_id, *found) for image_id, found in rows.items()]
    rng.shuffle(records)
    metrics = voc_evaluate(truth, records, method=method, iou_threshold=0.99)
    assert metrics["mAP"] == (pytest.approx(1.0) if truth["annotations"] else None)
