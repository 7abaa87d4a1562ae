"""The evaluator: batches in, metrics out, over one process and over several."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from refinedet.evaluation import Evaluator, coco_evaluate, to_padded, voc_evaluate, write_results
from refinedet_ext.results import Detections

from .scenes import make_record, make_scene, make_truth

SIZE = (400, 300)


def _batches(records, size):
    """The records as padded, normalized tensors with what the evaluator uses of a Batch."""
    for start in range(0, len(records), size):
        part = records[start : start + size]
        sizes = [SIZE] * len(part)
        padded = Detections(*(torch.from_numpy(a) for a in to_padded(part, sizes)))
        yield padded, SimpleNamespace(image_ids=[r.image_id for r in part], original_sizes=sizes)


@pytest.fixture(scope="module")
def scene():
    return make_scene(3, images=7, difficult=0.2)


@pytest.fixture
def evaluator(scene):
    truth, records = scene
    evaluator = Evaluator(truth, clip=False)
    for padded, batch in _batches(records, 3):
        evaluator.update(padded, batch)
    return evaluator


def test_batches_give_what_the_whole_gives(scene, evaluator):
    truth, records = scene
    assert len(evaluator) == 7
    assert evaluator.class_names == ["class1", "class2", "class3"]
    whole = coco_evaluate(truth, records)
    got = evaluator.compute("coco")
    assert got["AP50"] == pytest.approx(whole["AP50"]) and 0 < got["AP50"] < 1
    for kind, method in (("voc07", "11point"), ("voc12", "area")):
        expected = voc_evaluate(truth, records, method=method) | {"kind": kind}
        assert evaluator.compute(kind)["mAP"] == pytest.approx(expected["mAP"])
        assert evaluator.compute(kind)["method"] == method


def test_options_reach_the_metrics(evaluator):
    assert evaluator.compute("voc12", iou_threshold=0.9, pixel_offset=0)["pixel_offset"] == 0
    assert evaluator.compute("voc12", iou_threshold=0.9)["mAP"] < evaluator.compute("voc12")["mAP"]
    assert "AR5" in evaluator.compute("coco", max_detections=(1, 5, 50))
    curves = evaluator.precision_recall(0.9)
    loose = evaluator.precision_recall(0.5)
    assert list(curves) == evaluator.class_names
    assert sum(c.true_positives for c in curves.values()) < sum(c.true_positives for c in loose.values())


def test_processes_merge_to_the_same_metrics(scene, evaluator):
    truth, records = scene
    ranks = [Evaluator(truth, clip=False) for _ in range(3)]
    # rank 2 repeats the first image, as a distributed sampler does to fill up
    shares = (records[0::3], records[1::3], records[2::3] + records[:1])
    for rank, share in zip(ranks, shares, strict=True):
        for padded, batch in _batches(share, 2):
            rank.update(padded, batch)
    merged = Evaluator(truth)
    for rank in ranks:
        merged.merge(pickle.loads(pickle.dumps(rank.state())))
    assert len(merged) == 7
    for kind in ("coco", "voc07"):
        assert merged.compute(kind) == evaluator.compute(kind)
    assert merged.results() == evaluator.results()


def test_results_and_back(scene, evaluator, tmp_path):
    truth, _ = scene
    path = tmp_path / "results.json"
    write_results(path, evaluator.results())
    for source in (path, evaluator.results()):
        again = Evaluator(truth)
        again.load_results(source)
        assert again.compute()["AP"] == pytest.approx(evaluator.compute()["AP"])


def test_results_carry_the_categories_of_the_ground_truth():
    truth = make_truth([(1, 1, [0, 0, 50, 50])])
    truth["annotations"][0]["category_id"] = 44
    truth["categories"] = [{"id": 7, "name": "cup"}, {"id": 44, "name": "spoon"}]
    evaluator = Evaluator(truth, ["spoon", "cup"])
    evaluator.add(make_record(1, (1, 0.9, [0, 0, 50, 50])))
    assert evaluator.results() == [{"image_id": 1, "category_id": 44, "bbox": [0.0, 0.0, 50.0, 50.0], "score": 0.9}]
    assert evaluator.compute()["per_class"]["spoon"]["AP50"] == pytest.approx(1.0)


def test_pictures_not_seen_are_an_error_unless_partial():
    truth = make_truth([(1, 1, [0, 0, 50, 50]), (2, 1, [0, 0, 50, 50])])
    evaluator = Evaluator(truth)
    assert evaluator.compute(partial=True)["AP"] is None
    evaluator.add(make_record(2, (1, 0.9, [0, 0, 50, 50])))
    with pytest.raises(ValueError, match="1 of 2 images .* been evaluated, the first is 1"):
        evaluator.compute()
    with pytest.raises(ValueError, match="have not been evaluated"):
        evaluator.precision_recall()
    assert evaluator.compute(partial=True)["AP"] == pytest.approx(1.0)
    assert evaluator.compute("voc07", partial=True)["mAP"] == pytest.approx(1.0)
    evaluator.add(make_record(1))
    assert evaluator.compute()["AP50"] == pytest.approx(51 / 101)
    evaluator.reset()
    assert len(evaluator) == 0 and evaluator.results() == []


def test_clipping_is_an_option():
    truth = make_truth([(1, 1, [0, 0, 50, 50])])
    padded = Detections(np.array([[[-0.5, -0.5, 0.125, 0.125]]]), np.array([[0.9]]), np.array([[1]]), np.array([1]))
    batch = SimpleNamespace(image_ids=[1], original_sizes=[(400, 400)])
    for clip, score in ((True, 1.0), (False, 0.0)):
        evaluator = Evaluator(truth, clip=clip)
        evaluator.update(padded, batch)
        assert evaluator.compute()["AP50"] == pytest.approx(score)


def test_wrong_use_is_named():
    evaluator = Evaluator(make_truth([(1, 1, [0, 0, 50, 50])]))
    with pytest.raises(ValueError, match="kind: expected one of coco, voc07, voc12, got 'voc'"):
        evaluator.compute("voc")
    with pytest.raises(ValueError, match="image 5: not in the ground truth"):
        evaluator.add(make_record(5))
    with pytest.raises(ValueError, match="image 1: labels: expected 1..1, got 2"):
        evaluator.merge([make_record(1, (2, 0.5, [0, 0, 5, 5]))])
    evaluator.add(make_record(1))
    with pytest.raises(ValueError, match="image 1 has been evaluated already"):
        evaluator.add(make_record(1))
