from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import refinedet_ext as rx

OP = torch.ops.refinedet_ext.mine_hard_negatives.default
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def inputs(rng, batch, count, *, dtype=torch.float32, positives=0.05):
    """Losses as of a trained detector, mostly near zero, and labels with some positives and ignored anchors."""
    loss = torch.nn.functional.softplus(torch.randn(batch, count, generator=rng) * 3 - 4)
    draw = torch.rand(batch, count, generator=rng)
    return loss.to(dtype), torch.where(draw < positives, 3, torch.where(draw > 0.9, -1, 0))


def assert_as_reference(*args, **kwargs):
    got = rx.mine_hard_negatives(*args, **kwargs)
    assert got.dtype == torch.bool and torch.equal(got, rx.reference.mine_hard_negatives(*args, **kwargs))
    return got


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("count", [1, 2, 15, 16, 1000, 6375])
@pytest.mark.parametrize("filtered", [False, True])
def test_agrees_with_reference(rng, dtype, count, filtered):
    loss, labels = inputs(rng, 5, count, dtype=dtype)
    eligible = torch.rand(5, count, generator=rng) < 0.1 if filtered else None
    for kwargs in ({}, {"ratio": 1.7}, {"ratio": 0, "min_negatives": 4}, {"ratio": 0.01}, {"min_negatives": 100}):
        assert_as_reference(loss, labels, eligible=eligible, **kwargs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_losses_that_differ_in_the_last_bits(rng, dtype):
    """Every digit of the radix selection has to decide, the lowest too."""
    step = torch.finfo(dtype).eps
    loss = 1 + torch.randint(0, 900, (3, 4000), generator=rng).to(dtype) * step
    labels = (torch.rand(3, 4000, generator=rng) < 0.05).long()
    got = assert_as_reference(loss, labels)
    assert torch.equal(got.sum(1), 3 * labels.sum(1))


def test_equal_losses_by_index():
    labels = torch.tensor([[0, 1, 0, 0, -1, 0, 0]])
    assert rx.mine_hard_negatives(torch.ones(1, 7), labels).tolist() == [[True, False, True, True, False, False, False]]


def test_quota():
    loss = torch.arange(12.0).repeat(3, 1)
    labels = torch.zeros(3, 12, dtype=torch.int64)
    labels[1, :3] = torch.tensor([1, 7, 20])  # the class does not matter
    labels[2, :8] = 1
    count = lambda **kwargs: rx.mine_hard_negatives(loss, labels, **kwargs).sum(1).tolist()  # noqa: E731
    assert count() == [0, 9, 4]
    assert count(ratio=2.5) == [0, 7, 4]
    assert count(ratio=0.3) == [0, 0, 2]
    assert count(min_negatives=2) == [2, 9, 4]
    assert count(ratio=0.0, min_negatives=1) == [1, 1, 1]
    assert count(ratio=1e300, min_negatives=2**62) == [12, 9, 4]
    assert rx.mine_hard_negatives(loss, labels)[1].tolist() == [False] * 3 + [True] * 9


def test_special_values():
    nan, inf = math.nan, math.inf
    loss = torch.tensor([[0.5, nan, -inf, inf, -0.0, 0.0, -nan, -1.0, 9.0, 0.0]])
    labels = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 0, 1, 0]])
    order = [1, 6, 3, 0, 4, 5, 9, 7, 2]  # NaN first, zeros alike, minus infinity last
    for quota in range(10):
        chosen = assert_as_reference(loss, labels, ratio=float(quota))
        assert chosen[0].nonzero().flatten().tolist() == sorted(order[:quota])


values = st.sampled_from([0.0, -0.0, 0.25, 1.0, 1.0 + 2**-20, 7.0, -2.0, 1e-40, math.inf, -math.inf, math.nan])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 4).flatmap(
        lambda batch: st.lists(
            st.lists(st.tuples(values, st.sampled_from([-1, 0, 0, 0, 1, 5]), st.booleans()), min_size=12, max_size=12),
            min_size=batch,
            max_size=batch,
        )
    ),
    st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from(DTYPES),
)
def test_any_input(rows, ratio, min_negatives, filtered, dtype):
    table = torch.tensor(rows, dtype=torch.float64).reshape(len(rows), 12, 3)
    loss, labels, eligible = table[..., 0].to(dtype), table[..., 1].long(), table[..., 2] > 0
    kwargs = {"eligible": eligible} if filtered else {}
    chosen = assert_as_reference(loss, labels, ratio=ratio, min_negatives=min_negatives, **kwargs)
    candidates = (labels == 0) & eligible if filtered else labels == 0
    assert not (chosen & ~candidates).any()
    quota = ((labels > 0).sum(1) * ratio).long().clamp(min=min_negatives)
    assert torch.equal(chosen.sum(1), torch.minimum(quota, candidates.sum(1)))
    # nothing that was left has a larger loss than something that was chosen
    rank = loss.double().nan_to_num(nan=math.inf, posinf=1e300, neginf=-1e300)
    worst = torch.where(chosen, rank, math.inf).amin(1)
    assert (torch.where(candidates & ~chosen, rank, -math.inf) <= worst[:, None]).all()


@pytest.mark.parametrize("shape", [(0, 5), (3, 0), (0, 0)])
def test_empty(shape):
    got = rx.mine_hard_negatives(torch.zeros(shape), torch.zeros(shape, dtype=torch.int64), min_negatives=3)
    assert got.shape == shape and got.dtype == torch.bool


def test_non_contiguous(rng):
    loss, labels = inputs(rng, 4, 50)
    eligible = torch.rand(4, 50, generator=rng) < 0.7
    strided = [x.t().contiguous().t() for x in (loss, labels, eligible)]
    assert not any(x.is_contiguous() for x in strided)
    got = rx.mine_hard_negatives(strided[0], strided[1], eligible=strided[2])
    assert got.is_contiguous() and torch.equal(got, rx.mine_hard_negatives(loss, labels, eligible=eligible))


@pytest.mark.cpu_only
def test_threads_change_nothing(rng):
    loss, labels = inputs(rng, 13, 6375)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            results.append(rx.mine_hard_negatives(loss, labels))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


@pytest.mark.cpu_only
def test_opcheck(rng):
    loss, labels = inputs(rng, 2, 20, positives=0.2)
    for eligible in (None, loss > 0.01):
        torch.library.opcheck(OP, (loss.clone().requires_grad_(), labels, eligible, 3.0, 1))


@pytest.mark.cpu_only
def test_compile_and_export(rng):
    class Module(torch.nn.Module):
        def forward(self, loss, labels):
            return rx.mine_hard_negatives(loss, labels, ratio=2.0, min_negatives=1)

    example = inputs(rng, 2, 20, positives=0.2)
    compiled = torch.compile(Module(), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*example), Module()(*example))
    batch = torch.export.Dim("batch")
    program = torch.export.export(Module(), example, dynamic_shapes=({0: batch}, {0: batch}))
    more = inputs(rng, 5, 20, positives=0.2)
    assert torch.equal(program.module()(*more), Module()(*more))


def test_not_differentiable_and_autocast(rng):
    loss, labels = inputs(rng, 2, 40, positives=0.1)
    assert not rx.mine_hard_negatives(loss.requires_grad_(), labels).requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(rx.mine_hard_negatives(loss, labels), rx.reference.mine_hard_negatives(loss, labels))


GOOD = {"loss": torch.zeros(2, 7), "labels": torch.zeros(2, 7, dtype=torch.int64)}


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"loss": torch.zeros(7)}, ValueError, r"loss: expected shape \(B, A\), got \(7,\)"),
        ({"loss": torch.zeros(2, 7).long()}, TypeError, "loss: expected dtype float16.*got .*int64"),
        (
            {"labels": torch.zeros(2, 6).long()},
            ValueError,
            r"labels: expected shape \(B, A\) with .*A = 7, got \(2, 6\)",
        ),
        ({"labels": torch.zeros(2, 7)}, TypeError, "labels: expected dtype int64, got float32"),
        ({"eligible": torch.zeros(2) > 0}, ValueError, r"eligible: expected shape \(B, A\), got \(2,\)"),
        ({"eligible": torch.zeros(2, 7)}, TypeError, "eligible: expected dtype bool, got float32"),
        ({"ratio": -1.0}, ValueError, "ratio: expected a number in .*got -1.0"),
        ({"ratio": math.inf}, ValueError, "ratio: expected a finite number, got inf"),
        ({"ratio": math.nan}, ValueError, "ratio: expected a number in .*got nan"),
        ({"ratio": "3"}, TypeError, "ratio: expected a number, got str"),
        ({"min_negatives": -1}, ValueError, "min_negatives: expected at least 0, got -1"),
        ({"min_negatives": 1.0}, TypeError, "min_negatives: expected an int, got float"),
        ({"labels": GOOD["labels"].to("meta")}, ValueError, "labels: expected device cpu as loss has, got meta"),
    ],
)
def test_bad_input(kwargs, error, message):
    with pytest.raises(error, match=message):
        rx.mine_hard_negatives(**GOOD | kwargs)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.zeros(7), r"loss: expected shape \(B, A\), got \(7\)"),
        (1, torch.zeros(2, 6, dtype=torch.int64), r"labels: expected shape \(2, 7\) as loss has, got \(2, 6\)"),
        (1, torch.zeros(2, 7), "labels: expected dtype Long, got Float"),
        (2, torch.zeros(2, 7), "eligible: expected dtype Bool, got Float"),
        (3, math.inf, "ratio: expected a finite number of at least 0, got inf"),
        (4, -1, "min_negatives: expected at least 0, got -1"),
    ],
)
def test_op_itself_checks(position, value, message):
    arguments = [*GOOD.values(), None, 3.0, 0]
    arguments[position] = value
    with pytest.raises(RuntimeError, match=message):
        OP(*arguments)
