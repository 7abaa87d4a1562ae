"""The detection step in ONNX Runtime against `refinedet_ext.detect`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import refinedet_ext as rx
from refinedet.export import export_onnx
from refinedet.export.onnx_detect import _at_least, _at_most
from refinedet.export.verify import compare_detections

from .models import build

ANCHORS, CLASSES, BATCH = 240, 3, 2
SETTINGS = {
    "default": {},
    "code": {"top_k_per_class": 1000, "top_k": None, "keep_top_k": 500},
    "few of each class": {"top_k_per_class": 20, "top_k": None},
    "few of all": {"top_k": 30},
    "few kept": {"keep_top_k": 7, "score_threshold": 0.2},
    "more kept than there are": {"keep_top_k": ANCHORS * CLASSES + 5, "top_k": None},
    "no filter": {"theta": 1.0, "iou_threshold": 0.7},
    "everything filtered": {"theta": 0.0},
    "nothing above": {"score_threshold": 1.0},
    "other variances": {"variances": (0.2, 0.3, 0.1, 0.4), "theta": 0.6},
}


def tables(ties=False, seed=3):
    generator = np.random.default_rng(seed)
    arm_logits = generator.normal(size=(BATCH, ANCHORS, 2)) * 3
    odm_logits = generator.normal(size=(BATCH, ANCHORS, 1 + CLASSES)) * 3
    arm_deltas, odm_deltas = generator.normal(size=(2, BATCH, ANCHORS, 4))
    if ties:  # whole numbers: many scores are the same
        arm_logits, odm_logits = arm_logits.round(), odm_logits.round()
    centers, sides = generator.uniform(0.1, 0.9, (ANCHORS, 2)), generator.uniform(0.05, 0.4, (ANCHORS, 2))
    anchors = np.concatenate([centers - sides / 2, centers + sides / 2], axis=1)
    return tuple(t.astype(np.float32) for t in (arm_logits, arm_deltas, odm_logits, odm_deltas, anchors))


def in_onnx(path, **settings):
    """A session that computes `refinedet_ext.detect`, any number of images in a call."""
    pytest.importorskip("onnx", reason="onnx is not installed")
    onnxscript = pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from refinedet.export.onnx_ops import OPSET, translations

    limit = settings.pop("keep_per_class", None)

    class Detect(torch.nn.Module):
        def forward(self, *given):
            return tuple(rx.detect(*given, **settings))

    batch = torch.export.Dim("batch", min=1)
    shapes = {"given": (*({0: batch} for _ in range(4)), None)}
    program = torch.export.export(Detect(), tuple(map(torch.from_numpy, tables())), dynamic_shapes=shapes)
    written = torch.onnx.export(
        program,
        input_names=["arm_logits", "arm_deltas", "odm_logits", "odm_deltas", "anchors"],
        opset_version=OPSET,
        dynamo=True,
        custom_translation_table=translations(onnxscript.opset19, limit),
        verbose=False,
    )
    written.save(path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda given: rx.Detections(*session.run(None, dict(zip(names, given, strict=True))))


@pytest.mark.parametrize("name", SETTINGS)
def test_it_detects_as_the_op(name, tmp_path):
    run = in_onnx(tmp_path / "detect.onnx", **SETTINGS[name])
    tied = tables(ties=True)  # which rounding breaks, one way or the other
    want = rx.detect(*map(torch.from_numpy, tied), **SETTINGS[name])
    compare_detections(run(tied)._asdict(), {key: value.numpy() for key, value in want._asdict().items()}, "here")
    for given in (tables(), tables(seed=4)):
        want = rx.detect(*map(torch.from_numpy, given), **SETTINGS[name])
        got = run(given)
        assert (int(want.count.sum()) == 0) == (name in ("everything filtered", "nothing above"))
        np.testing.assert_array_equal(got.count, want.count)
        np.testing.assert_array_equal(got.labels, want.labels)
        np.testing.assert_allclose(got.scores, want.scores, atol=1e-6)
        np.testing.assert_allclose(got.boxes, want.boxes, rtol=1e-4, atol=1e-5)
        assert got.labels.dtype == got.count.dtype == np.int64
    one = run((*(table[:1] for table in tables()[:4]), tables()[4]))
    np.testing.assert_allclose(one.boxes[0], run(tables()).boxes[0], atol=1e-6)


def test_a_limit_per_class(tmp_path):
    from refinedet.detectors.per_class import limit_per_class

    run = in_onnx(tmp_path / "detect.onnx", keep_per_class=4, keep_top_k=10, top_k=None)
    got = run(tables())
    all_of_them = rx.detect(*map(torch.from_numpy, tables()), keep_top_k=ANCHORS * CLASSES, top_k=None)
    want = limit_per_class(all_of_them, 4, 10)
    np.testing.assert_array_equal(got.labels, want.labels)
    np.testing.assert_allclose(got.scores, want.scores, atol=1e-6)
    np.testing.assert_array_equal(got.count, want.count)


def test_soft_suppression_is_refused(tmp_path):
    model = build("refinedet192_small", method="linear")
    with pytest.raises(ValueError, match=r"nms: expected hard suppression .* got method 'linear'"):
        export_onnx(model, tmp_path / "model.onnx", end_to_end=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [0.0, 0.01, 0.45, 0.5, 1.0, -4.59511985, float("inf"), float("-inf")])
def test_thresholds_are_rounded_to_their_side(value):
    below, above = np.float32(_at_most(value)), np.float32(_at_least(value))
    assert below <= value <= above
    assert np.isinf(value) or value in (below, above) or np.nextafter(below, above) == above


def test_a_difference_is_found():
    found = rx.detect(*map(torch.from_numpy, tables()))
    want = {name: value.numpy() for name, value in found._asdict().items()}
    assert compare_detections(want, want, "here") == (0.0, int(want["count"].sum()))
    for name, change in (("labels", 1), ("scores", 0.01), ("boxes", 0.01)):
        got = {**want, name: want[name] + np.array(change, want[name].dtype)}
        with pytest.raises(ValueError, match="here: image 0 of 2: expected the model's [0-9]+ detections, got"):
            compare_detections(got, want, "here")
    fewer = {**want, "count": want["count"] // 2}
    with pytest.raises(ValueError, match="the model's have [0-9]+ that are not among them"):
        compare_detections(fewer, want, "here")
    with pytest.raises(ValueError, match="labels: expected int64 of shape .* got int32"):
        compare_detections({**want, "labels": want["labels"].astype(np.int32)}, want, "here")
