"""`nms` and `batched_nms` as ops and as functions: dtypes, layouts, threads, memory, compilation, what they refuse."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

import refinedet_ext as rx
import refinedet_ext.numpy as rxn

from ..cases import clustered_boxes
from .test_batched_nms import inputs, same

NMS = torch.ops.refinedet_ext.nms.default
BATCHED = torch.ops.refinedet_ext.batched_nms.default
PADDED = torch.ops.refinedet_ext.batched_nms_padded.default


@pytest.mark.parametrize("idx_dtype", [torch.int32, torch.int16, torch.int8, torch.uint8])
def test_group_numbers_of_any_integer_dtype(face, rng, idx_dtype):
    boxes, scores, idxs = inputs(rng, 100)
    same(face.batched_nms(boxes, scores, idxs.to(idx_dtype), 0.3), face.batched_nms(boxes, scores, idxs, 0.3))


def test_scores_may_have_another_dtype(face, rng):
    boxes, scores, _ = inputs(rng, 300)
    same(face.nms(boxes.double(), scores.half(), 0.4), rx.reference.nms(boxes.double(), scores.half(), 0.4))


def test_lists_on_the_numpy_face():
    assert rxn.batched_nms([[0, 0, 1, 1]], [1], [4], 0.5).tolist() == [0]
    assert rxn.batched_nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), [], 0.5).tolist() == []


def test_non_contiguous(face, rng):
    boxes, scores, idxs = inputs(rng, 101)
    columns = boxes.t().contiguous().t()
    twice = [torch.stack([x, x + 1], dim=1)[:, 0] for x in (scores, idxs)]
    assert not columns.is_contiguous() and not twice[0].is_contiguous()
    same(face.batched_nms(columns, *twice, 0.4), face.batched_nms(boxes, scores, idxs, 0.4))


def threads(face, count):
    if face.name == "numpy":
        rxn.set_num_threads(count)
    else:
        torch.set_num_threads(count)


@pytest.mark.cpu_only
def test_threads_give_the_same(face, rng):
    """70,000 boxes share the sort, 3 groups share the kept boxes of a group, 200 groups are dealt out."""
    before = torch.get_num_threads(), rxn.get_num_threads()
    count = 70_000
    boxes = torch.cat([clustered_boxes(count - 5000, 30, rng=rng), clustered_boxes(5000, 2000, rng=rng)])
    scores = torch.rand(count, generator=rng)
    few, many = torch.randint(3, (count,), generator=rng), torch.randint(200, (count,), generator=rng)
    results = []
    try:
        for workers in (1, 2, 5):
            threads(face, workers)
            results.append([face.batched_nms(boxes, scores, idxs, 0.4) for idxs in (few, many)])
    finally:
        torch.set_num_threads(before[0])
        rxn.set_num_threads(before[1])
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            assert torch.equal(one, other)


MEMORY = """
import resource, sys
sys.modules["torch"] = None  # as if it were not installed
import numpy as np
import refinedet_ext.numpy as rxn
rng = np.random.default_rng(0)
corner = rng.random((1_000_000, 2), np.float32)
boxes = np.concatenate([corner, corner + 0.01], axis=1)
scores, idxs = rng.random(1_000_000, np.float32), rng.integers(0, 5000, 1_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kept = rxn.batched_nms(boxes, scores, idxs, 0.5)
print(len(kept), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.cpu_only
def test_memory_is_linear():
    """A million boxes: under 200 MB beyond the input (a matrix of bits would take 125 GB)."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    kept, megabytes = map(int, run.stdout.split())
    assert kept > 900_000
    assert megabytes < 200


@pytest.mark.cpu_only
def test_opcheck(rng):
    boxes, scores, idxs = inputs(rng, 20)
    torch.library.opcheck(NMS, (boxes, scores, 0.5))
    torch.library.opcheck(BATCHED, (boxes.requires_grad_(), scores.requires_grad_(), idxs, 0.5))
    torch.library.opcheck(PADDED, (boxes, scores, idxs, 0.5))


@pytest.mark.parametrize("count", [0, 1, 31, 300])
def test_padded(dtype, rng, count):
    arguments = inputs(rng, count, dtype=dtype) if count else (torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long())
    got, expected = rx.batched_nms_padded(*arguments, 0.3), rx.reference.batched_nms_padded(*arguments, 0.3)
    same(got.index, expected.index)
    assert got.count.dtype == torch.int64 and got.count.shape == ()
    assert got.count == expected.count
    assert rx.batched_nms(*arguments, 0.3).tolist() == got.index[: got.count].tolist()


@pytest.mark.cpu_only
def test_padded_compiles_as_it_is(rng):
    compiled = torch.compile(rx.batched_nms_padded, fullgraph=True, backend="aot_eager", dynamic=True)
    for count in (50, 80):
        arguments = inputs(rng, count)
        for got, expected in zip(compiled(*arguments, 0.5), rx.batched_nms_padded(*arguments, 0.5), strict=True):
            assert torch.equal(got, expected)


@torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)
@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, boxes, scores, idxs):
            kept = rx.batched_nms(boxes, scores, idxs, 0.5)
            return boxes[kept] * 2, rx.nms(boxes, scores, 0.5)

    first, second = inputs(rng, 50), inputs(rng, 80)
    compiled = torch.compile(Module(), fullgraph=True, backend="aot_eager", dynamic=True)
    count = torch.export.Dim("count")
    dynamic = ({0: count}, {0: count}, {0: count})
    exported = torch.export.export(Module(), first, dynamic_shapes=dynamic).module()
    for arguments in (first, second):
        for run in (compiled, exported):
            for got, expected in zip(run(*arguments), Module()(*arguments), strict=True):
                assert torch.equal(got, expected)


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"boxes": torch.zeros(3, 5)}, ValueError, r"boxes: expected shape \(N, 4\).*, got \(3, 5\)"),
        ({"boxes": torch.zeros(4)}, ValueError, r"boxes: expected shape \(N, 4\), got \(4,\)"),
        ({"boxes": torch.zeros(3, 4).long()}, TypeError, "boxes: expected dtype float16.*got .*int64"),
        ({"scores": torch.zeros(2)}, ValueError, r"scores: expected shape \(N,\) with N = 3, got \(2,\)"),
        ({"scores": torch.zeros(3).long()}, TypeError, "scores: expected dtype float16.*got .*int64"),
        ({"idxs": torch.zeros(3, 1).long()}, ValueError, r"idxs: expected shape \(N,\), got \(3, 1\)"),
        ({"idxs": torch.zeros(2).long()}, ValueError, r"idxs: expected shape \(N,\) with N = 3, got \(2,\)"),
        ({"idxs": torch.zeros(3)}, TypeError, "idxs: expected .*int.*got float32"),
        ({"iou_threshold": math.nan}, ValueError, "iou_threshold: expected a number .*got nan"),
        ({"iou_threshold": "0.5"}, TypeError, "iou_threshold: expected a number, got str"),
    ],
)
def test_bad_input(face, kwargs, error, message):
    arguments = {
        "boxes": torch.zeros(3, 4),
        "scores": torch.zeros(3),
        "idxs": torch.zeros(3, dtype=torch.int64),
        "iou_threshold": 0.5,
    } | kwargs
    with pytest.raises(error, match=message):
        face.batched_nms(**arguments)
    with pytest.raises(error, match=message):
        rx.batched_nms_padded(**arguments)
    if "idxs" not in kwargs:
        del arguments["idxs"]
        with pytest.raises(error, match=message):
            face.nms(**arguments)


def test_bad_device():
    with pytest.raises(ValueError, match="idxs: expected device cpu as boxes has, got meta"):
        rx.batched_nms(torch.zeros(3, 4), torch.zeros(3), torch.zeros(3, dtype=torch.int64, device="meta"), 0.5)


def test_op_itself_checks():
    boxes, scores = torch.zeros(3, 4), torch.zeros(3)
    with pytest.raises(RuntimeError, match=r"boxes: expected shape \(N, 4\), got \(3, 5\)"):
        NMS(torch.zeros(3, 5), scores, 0.5)
    with pytest.raises(RuntimeError, match=r"scores: expected shape \(3,\), got \(4\)"):
        NMS(boxes, torch.zeros(4), 0.5)
    with pytest.raises(RuntimeError, match="scores: expected a floating dtype, got Long"):
        NMS(boxes, scores.long(), 0.5)
    with pytest.raises(RuntimeError, match="idxs: expected dtype Long, got Int"):
        BATCHED(boxes, scores, torch.zeros(3, dtype=torch.int32), 0.5)


@pytest.mark.parametrize("boxes", [torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(0, 4).long()])
def test_no_boxes_as_torchvision_takes_them(face, boxes):
    kept = face.batched_nms(boxes, None, None, 0.5)
    assert kept.dtype == torch.int64 and kept.shape == (0,)


def test_no_boxes_of_whole_numbers():
    kept = rx.batched_nms(torch.zeros(0, 4).long(), torch.zeros(0), torch.zeros(0), 0.5)
    assert kept.dtype == torch.int64 and kept.shape == (0,)


def test_none_beside_boxes_is_an_error(face):
    with pytest.raises(TypeError, match="scores: expected"):
        face.batched_nms(torch.zeros(3, 4), None, torch.zeros(3).long(), 0.5)
    with pytest.raises((TypeError, ValueError), match="idxs: expected"):
        face.batched_nms(torch.zeros(3, 4), torch.zeros(3), None, 0.5)
