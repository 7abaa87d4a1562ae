from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx

from ..cases import TOLERANCES, random_boxes
from ..threads import with_threads

OP = torch.ops.refinedet_ext.detect.default


def inputs(rng, batch, count, classes, dtype=torch.float32):
    """What both stages put out: a third of the anchors pass the first one, few class scores stand out."""
    arm_logits = torch.randn(batch, count, 2, generator=rng) * 5 - torch.tensor([0.0, 7.0])
    odm_logits = torch.randn(batch, count, 1 + classes, generator=rng) * 3
    arm_deltas, odm_deltas = (torch.randn(batch, count, 4, generator=rng) for _ in range(2))
    tensors = arm_logits, arm_deltas, odm_logits, odm_deltas, random_boxes(count, rng=rng)
    return tuple(t.to(dtype) for t in tensors)


def check(face, tensors, **chosen):
    """Against the reference; scores that differ by no more than a rounding may stand in either order."""
    got, expected = face.detect(*tensors, **chosen), rx.reference.detect(*tensors, **chosen)
    tolerance = TOLERANCES[expected.scores.dtype]
    assert torch.equal(got.count, expected.count)
    torch.testing.assert_close(got.scores, expected.scores, **tolerance)
    gap = -expected.scores.diff(dim=1)
    unclear = (gap > 0) & (gap < tolerance["atol"])
    clear = torch.ones_like(expected.scores, dtype=torch.bool)
    clear[:, 1:] &= ~unclear
    clear[:, :-1] &= ~unclear
    assert torch.equal(got.labels[clear], expected.labels[clear])
    torch.testing.assert_close(got.boxes[clear], expected.boxes[clear], equal_nan=True, **tolerance)
    return got


@pytest.mark.parametrize(
    ("batch", "count", "classes"), [(1, 1, 1), (2, 15, 3), (3, 33, 20), (1, 700, 80), (2, 9001, 2)]
)
def test_agrees_with_reference(face, dtype, rng, batch, count, classes):
    """(2, 9001, 2) takes several tasks per image."""
    found = check(face, inputs(rng, batch, count, classes, dtype))
    assert found.boxes.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert found.boxes.shape == (batch, 200, 4)


@pytest.mark.parametrize(
    "chosen",
    [
        {"theta": 1.0},
        {"theta": 0.5, "score_threshold": 0.3},
        {"score_threshold": 0.0, "top_k": None, "keep_top_k": 3000},
        {"score_threshold": -1.0, "iou_threshold": 0.2},
        {"score_threshold": 0.95},
        {"variances": (0.2, 0.3, 0.1, 0.4)},
        {"clip_to": (0.7, 0.6)},
        {"top_k_per_class": 5, "top_k": None, "keep_top_k": 17},
        {"top_k": 20},
        {"keep_top_k": 0},
        {"method": "linear", "iou_threshold": 0.3, "min_score": 0.05},
        {"method": "gaussian", "sigma": 0.3, "min_score": 0.05},
    ],
    ids=str,
)
def test_settings(face, rng, chosen):
    found = check(face, inputs(rng, 2, 150, 4), **chosen)
    assert (found.count > 0).all() or chosen == {"keep_top_k": 0}


def test_clips_after_the_suppression(face):
    """The same once clipped, so that clipping first would suppress the second box."""
    anchors = torch.tensor([[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    arm_logits = torch.tensor([[[0.0, 9.0]] * 2])
    odm_logits = torch.tensor([[[0.0, 9.0], [0.0, 8.0]]])
    deltas = torch.zeros(1, 2, 4)
    found = face.detect(arm_logits, deltas, odm_logits, deltas, anchors, clip_to=(1.0, 1.0), iou_threshold=0.6)
    assert found.count.tolist() == [2]
    assert torch.equal(found.boxes[0, 0], found.boxes[0, 1])


def test_ties_fall_to_the_lower_class_then_anchor(face):
    anchors = torch.tensor([[float(i), 0.0, i + 0.5, 1.0] for i in range(40)])
    arm_logits = torch.zeros(1, 40, 2)
    arm_logits[0, ::3, 0] = 9.0
    deltas = torch.zeros(1, 40, 4)
    found = check(face, (arm_logits, deltas, torch.zeros(1, 40, 4), deltas, anchors))
    left = [i for i in range(40) if i % 3]
    assert found.count.tolist() == [3 * len(left)]
    assert found.labels[0, : 3 * len(left)].tolist() == [c for c in (1, 2, 3) for _ in left]
    assert found.boxes[0, : 3 * len(left), 0].tolist() == [float(i) for _ in range(3) for i in left]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("limit", [1, 16, 100, 400])
def test_the_best_candidates_are_the_first_of_all(rng, dtype, ties, limit):
    """While the anchors are gone through the threshold rises, and nothing that belongs to the best may be lost."""
    arm_logits, arm_deltas, odm_logits, odm_deltas, anchors = inputs(rng, 2, 3000, 7, dtype)
    if ties:
        odm_logits = odm_logits.round()
    tensors = arm_logits, arm_deltas, odm_logits, odm_deltas, anchors
    every = rx.detect(*tensors, iou_threshold=1.0, top_k=None, keep_top_k=21_000)
    best = rx.detect(*tensors, iou_threshold=1.0, top_k=limit, keep_top_k=limit)
    assert (every.count > 4 * limit).all() and (best.count == limit).all()
    for some, of_all in zip(best[:3], every[:3], strict=True):
        assert torch.equal(some, of_all[:, :limit])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.floats(-30, 30, width=32), min_size=4, max_size=4), min_size=1, max_size=20),
    st.one_of(st.floats(-0.5, 1.5), st.floats(0, 1e-6), st.floats(0.999999, 1.0)),
)
def test_drops_no_score_above_the_threshold(rows, threshold):
    """Every candidate comes through where nothing suppresses it, whatever is skipped on the way."""
    logits = torch.tensor([rows])
    count = logits.shape[1]
    deltas, anchors = torch.zeros(1, count, 4), torch.zeros(count, 4)
    found = rx.detect(
        torch.zeros(1, count, 2), deltas, logits, deltas, anchors,
        score_threshold=threshold, top_k=None, keep_top_k=3 * count,
    )  # fmt: skip
    scores = logits.double().softmax(-1)[..., 1:]
    slack = 1e-6 * abs(threshold)
    assert (scores > threshold + slack).sum() <= int(found.count) <= (scores > threshold - slack).sum()
    assert (found.scores[0, : int(found.count)].double() > threshold).all()


def test_scores_far_apart(face):
    """Differences beyond what exp can take, and equal largest ones."""
    logits = torch.tensor([[[0.0, 500.0, -500.0], [3e38, 0.0, -3e38], [-3e38, 3e38, 3e38], [0.0, -80.0, -87.5]]])
    deltas, anchors = torch.zeros(1, 4, 4), torch.tensor([[float(i), 0.0, i + 0.5, 1.0] for i in range(4)])
    found = face.detect(torch.zeros(1, 4, 2), deltas, logits, deltas, anchors, score_threshold=0.0, keep_top_k=5)
    assert found.labels.tolist() == [[1, 1, 2, 1, 0]]
    torch.testing.assert_close(found.scores[0], torch.tensor([1.0, 0.5, 0.5, math.exp(-80), 0.0]), rtol=1e-6, atol=0.0)


def test_nan_and_infinite_logits(face, rng):
    """A row with NaN or +infinity has no softmax and gives nothing; -infinity is a probability of 0."""
    arm_logits, arm_deltas, odm_logits, odm_deltas, anchors = inputs(rng, 1, 60, 3)
    arm_logits[0, :, 1] = 9.0
    arm_logits[0, 1, 0], arm_logits[0, 2, 1], arm_logits[0, 3, 0] = math.nan, math.nan, -math.inf
    odm_logits[0, 10, 0], odm_logits[0, 11, 2], odm_logits[0, 12, 0] = math.nan, math.nan, math.inf
    odm_logits[0, 13, 1], odm_logits[0, 14, 0], odm_logits[0, 15, 3] = math.inf, -math.inf, -math.inf
    odm_logits[0, 16] = -math.inf
    for threshold in (0.01, 0.0, -1.0):
        found = check(
            face, (arm_logits, arm_deltas, odm_logits, odm_deltas, anchors),
            score_threshold=threshold, iou_threshold=1.0, top_k=None, keep_top_k=300,
        )  # fmt: skip
    bad = [1, 2, 10, 11, 12, 13, 16]
    assert int(found.count) == 3 * (60 - len(bad))


def test_nan_deltas(face, rng):
    """Such a box overlaps nothing."""
    tensors = inputs(rng, 2, 80, 3)
    tensors[1][:, ::7, 1], tensors[3][:, ::5, 2] = math.nan, math.nan
    assert check(face, tensors).boxes.isnan().any()


@pytest.mark.parametrize(("batch", "count", "classes"), [(0, 0, 0), (0, 5, 3), (3, 0, 3), (2, 5, 0)])
def test_empty(face, rng, batch, count, classes):
    found = face.detect(*inputs(rng, batch, count, classes), keep_top_k=7)
    assert found.boxes.shape == (batch, 7, 4) and found.count.tolist() == [0] * batch
    assert not found.boxes.any() and not found.scores.any() and not found.labels.any()


def test_image_without_detections(face, rng):
    tensors = inputs(rng, 3, 90, 3)
    tensors[0][1, :, 0] = 90.0  # all sorted out by the first stage
    tensors[2][2, :, 0] = 90.0  # all background to the second
    assert check(face, tensors).count[1:].tolist() == [0, 0]


def test_non_contiguous(face, rng):
    tensors = inputs(rng, 2, 60, 3)
    strided = [t.transpose(-1, -2).contiguous().transpose(-1, -2) for t in tensors]
    assert not any(t.is_contiguous() for t in strided)
    for got, expected in zip(face.detect(*strided), face.detect(*tensors), strict=True):
        assert torch.equal(got, expected)


def test_mixed_dtypes_promote(face, rng):
    arm_logits, arm_deltas, odm_logits, odm_deltas, anchors = inputs(rng, 2, 60, 3)
    check(face, (arm_logits.half(), arm_deltas, odm_logits.half(), odm_deltas, anchors))
    check(face, (arm_logits, arm_deltas, odm_logits, odm_deltas, anchors.double()))


def test_has_no_gradient(rng):
    tensors = [t.requires_grad_() for t in inputs(rng, 1, 30, 3)]
    found = rx.detect(*tensors)
    assert not found.boxes.requires_grad and not found.scores.requires_grad


def arguments(tensors):
    return (*tensors, 0.99, [0.1, 0.1, 0.2, 0.2], [1.0, 1.0], 0.01, 0.45, None, 400, 20, "hard", 0.5, 0.001)


@pytest.mark.cpu_only
def test_opcheck(rng):
    for dtype in (torch.float32, torch.float64, torch.float16):
        torch.library.opcheck(OP, arguments(inputs(rng, 2, 30, 3, dtype)))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, *tensors):
            return tuple(rx.detect(*tensors, keep_top_k=20))

    tensors = inputs(rng, 2, 30, 3)
    expected = Module()(*tensors)
    for got, want in zip(torch.compile(Module(), fullgraph=True, backend="aot_eager")(*tensors), expected, strict=True):
        assert torch.equal(got, want)
    batch = torch.export.Dim("batch")
    shapes = (tuple({0: batch} if t.dim() == 3 else {} for t in tensors),)
    program = torch.export.export(Module(), tensors, dynamic_shapes=shapes)
    more = [t.repeat(3, 1, 1) if t.dim() == 3 else t for t in tensors]
    for got, want in zip(program.module()(*more), expected, strict=True):
        assert torch.equal(got, want.repeat(3, *[1] * (want.dim() - 1)))


def test_autocast_changes_nothing(rng):
    tensors = inputs(rng, 2, 60, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = rx.detect(*tensors)
    for got, expected in zip(found, rx.detect(*tensors), strict=True):
        assert torch.equal(got, expected)


def test_threads_give_the_same_bits(face, rng):
    tensors = inputs(rng, 3, 9001, 3)
    one, several = with_threads(lambda: face.detect(*tensors), 1, 3)
    assert all(torch.equal(a, b) for a, b in zip(one, several, strict=True))


GOOD = {
    "arm_logits": torch.zeros(2, 3, 2),
    "arm_deltas": torch.zeros(2, 3, 4),
    "odm_logits": torch.zeros(2, 3, 5),
    "odm_deltas": torch.zeros(2, 3, 4),
    "anchors": torch.zeros(3, 4),
}


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"arm_logits": torch.zeros(2, 3, 3)}, ValueError, r"arm_logits: expected shape \(B, A, 2\) .*got \(2, 3, 3\)"),
        ({"arm_deltas": torch.zeros(2, 4, 4)}, ValueError, r"arm_deltas: expected shape .* with B = 2, A = 3"),
        ({"odm_logits": torch.zeros(3, 3, 5)}, ValueError, r"odm_logits: expected shape \(B, A, 1 \+ C\) with B = 2"),
        ({"odm_logits": torch.zeros(2, 3, 0)}, ValueError, r"odm_logits: expected shape .*, got \(2, 3, 0\)"),
        ({"odm_deltas": torch.zeros(3, 4)}, ValueError, r"odm_deltas: expected shape \(B, A, 4\), got \(3, 4\)"),
        ({"anchors": torch.zeros(2, 3, 4)}, ValueError, r"anchors: expected shape \(A, 4\), got \(2, 3, 4\)"),
        ({"anchors": torch.zeros(3, 4).int()}, TypeError, "anchors: expected dtype float16.*got .*int32"),
        ({"theta": -0.1}, ValueError, r"theta: expected a number in \[0.0, 1.0\], got -0.1"),
        ({"variances": (0.1, 0.1)}, ValueError, "variances: expected 4 values .*got 2"),
        ({"clip_to": (1.0, math.inf)}, ValueError, "clip_to: expected finite sizes"),
        ({"score_threshold": math.nan}, ValueError, "score_threshold: expected a number in"),
        ({"iou_threshold": 1.5}, ValueError, "iou_threshold: expected a number in"),
        ({"top_k": 0}, ValueError, "top_k: expected at least 1, got 0"),
        ({"top_k_per_class": 2.0}, TypeError, "top_k_per_class: expected an int, got float"),
        ({"keep_top_k": None}, TypeError, "keep_top_k: expected an int, got NoneType"),
        ({"method": "soft"}, ValueError, "method: expected one of 'hard', 'linear', 'gaussian', got 'soft'"),
    ],
)
def test_bad_input(face, kwargs, error, message):
    with pytest.raises(error, match=message):
        face.detect(**(GOOD | kwargs))


def test_bad_device():
    with pytest.raises(ValueError, match="anchors: expected device cpu as arm_logits has, got meta"):
        rx.detect(**(GOOD | {"anchors": torch.zeros(3, 4, device="meta")}))


def test_op_itself_checks():
    tensors = tuple(GOOD.values())
    for at, wrong, message in (
        (1, torch.zeros(2, 3, 5), r"arm_deltas: expected shape \(2, 3, 4\), got \(2, 3, 5\)"),
        (2, torch.zeros(2, 4, 5), r"odm_logits: expected shape \(2, 3, 5\), got \(2, 4, 5\)"),
        (3, torch.zeros(2, 3, 4).double(), "odm_deltas: expected dtype Float, got Double"),
        (4, torch.zeros(4, 4), r"anchors: expected shape \(3, 4\), got \(4, 4\)"),
    ):
        with pytest.raises(RuntimeError, match=message):
            OP(*arguments([*tensors[:at], wrong, *tensors[at + 1 :]]))
    with pytest.raises(RuntimeError, match="theta: expected a number from 0 to 1, got 2"):
        OP(*tensors, 2.0, *arguments(tensors)[6:])
