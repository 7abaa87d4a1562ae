"""Reverse mode in every form: checkpoints, modes, hooks, torch.func; and errors for what there is no derivative of."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

import refinedet_ext as rx

from .calls import CALLS

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}  # a batch in one call or in several: sums in another order


def same(got, expected):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)


def of_first(call, leaves):
    """The loss as a function of the differentiable tensors."""

    def loss(*wanted):
        tensors = list(leaves)
        for i, tensor in zip(call.differentiable, wanted, strict=True):
            tensors[i] = tensor
        return call.loss(*tensors)

    return loss, tuple(leaves[i] for i in call.differentiable)


@pytest.mark.parametrize("early_stop", [True, False])
def test_checkpoint(differentiable, early_stop):
    leaves = differentiable.leaves()
    with torch.utils.checkpoint.set_checkpoint_early_stop(early_stop):
        checkpoint(differentiable.loss, *leaves, use_reentrant=False).backward()
    same([leaves[i].grad for i in differentiable.differentiable], differentiable.gradients())


def test_saved_tensor_hooks(differentiable):
    leaves = differentiable.leaves()
    with torch.autograd.graph.saved_tensors_hooks(lambda x: x.clone(), lambda x: x):
        loss = differentiable.loss(*leaves)
    loss.backward()
    same([leaves[i].grad for i in differentiable.differentiable], differentiable.gradients())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients(call, mode):
    leaves = call.leaves()
    expected = call.outputs(*leaves)
    assert any(out.requires_grad for out in expected) == bool(call.differentiable)
    with mode():
        got = call.outputs(*leaves)
    for a, b in zip(got, expected, strict=True):
        assert not a.requires_grad
        assert torch.equal(a, b)


def test_func_grad(differentiable):
    loss, wanted = of_first(differentiable, differentiable.tensors)
    positions = tuple(range(len(wanted)))
    same(torch.func.grad(loss, argnums=positions)(*wanted), differentiable.gradients())


def test_func_vjp_and_jacrev(differentiable):
    leaves = differentiable.leaves()
    loss, wanted = of_first(differentiable, leaves)
    _, pull = torch.func.vjp(loss, *(w.detach() for w in wanted))
    same(pull(torch.tensor(2.0)), [2 * g for g in differentiable.gradients()])

    def output(*tensors):
        every = list(differentiable.tensors)
        for i, tensor in zip(differentiable.differentiable, tensors, strict=True):
            every[i] = tensor
        return next(part for part in differentiable.outputs(*every) if part.is_floating_point())

    values = tuple(differentiable.tensors[i] for i in differentiable.differentiable)
    expected = torch.autograd.functional.jacobian(output, values)
    same(torch.func.jacrev(output, argnums=tuple(range(len(values))))(*values), expected)


def test_func_grad_with_outer_graph(differentiable):
    """torch.func inside eager autograd: the values that the transform gives are those of eager mode."""
    leaves = differentiable.leaves()
    loss, wanted = of_first(differentiable, leaves)
    gradients, value = torch.func.grad_and_value(loss)(*wanted)
    torch.testing.assert_close(value, loss(*wanted), **TOLERANCE)
    assert value.requires_grad
    torch.testing.assert_close(gradients, differentiable.gradients()[0], **TOLERANCE)


def test_func_grad_under_no_grad(differentiable):
    """As with torch's own ops, no_grad inside the function stops the derivative."""
    loss, wanted = of_first(differentiable, differentiable.tensors)

    def stopped(*tensors):
        with torch.no_grad():
            constant = loss(*tensors)
        return constant + 2 * tensors[0].sum()

    gradient = torch.func.grad(stopped)(*wanted)
    assert torch.equal(gradient, torch.full_like(gradient, 2))


def test_autocast(differentiable):
    """Transforms inside and outside of autocast, and the gradients in the inputs' own dtype."""
    loss, wanted = of_first(differentiable, differentiable.tensors)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        leaves = differentiable.leaves()
        differentiable.loss(*leaves).backward()
        inside = torch.func.grad(loss)(*wanted)
        mapped = torch.vmap(differentiable.outputs)(*(t[None] for t in differentiable.tensors))
        plain = differentiable.outputs()

    def casting(*tensors):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss(*tensors)

    expected = leaves[differentiable.differentiable[0]].grad
    for got in (inside, torch.func.grad(casting)(*wanted)):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, expected, rtol=3e-2, atol=3e-1)  # bfloat16 weights up to some dozens
    for a, b in zip(mapped, plain, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a[0], b, rtol=1e-2, atol=1e-2)


def test_functional_call():
    block = rx.nn.TransferConnectionBlock(4, 8)
    source, above = torch.randn(1, 4, 6, 6), torch.randn(1, 8, 3, 3)
    parameters = dict(block.named_parameters())

    def loss(values):
        return torch.func.functional_call(block, values, (source, above)).square().sum()

    got = torch.func.grad(loss)({k: v.detach() for k, v in parameters.items()})
    block(source, above).square().sum().backward()
    same(got.values(), [p.grad for p in parameters.values()])


def test_second_derivative_is_an_error(differentiable):
    leaves = differentiable.leaves()
    loss, wanted = of_first(differentiable, leaves)
    first = torch.autograd.grad(loss(*wanted), wanted, create_graph=True)
    with pytest.raises(RuntimeError, match=r"\w+: a second derivative is not available"):
        sum(g.square().sum() for g in first).backward()
    with pytest.raises(RuntimeError, match=r"\w+: a second derivative is not available"):
        torch.func.grad(lambda *t: torch.func.grad(loss)(*t).square().sum())(*wanted)


FORWARD = r"\w+: derivatives in forward mode .* are not available"
CONSTANT = r"\w+: its results are not differentiable"


def test_forward_mode_is_an_error(differentiable):
    loss, wanted = of_first(differentiable, differentiable.tensors)
    with pytest.raises(RuntimeError, match=FORWARD):
        torch.func.jvp(loss, wanted, wanted)
    with pytest.raises(RuntimeError, match=FORWARD):
        torch.func.jacfwd(loss)(*wanted)
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match=FORWARD):
        loss(*(forward_ad.make_dual(w, torch.ones_like(w)) for w in wanted))


def test_forward_mode_of_something_else(call):
    """What carries no tangent is computed as ever."""
    expected = call.outputs()

    def both(x):
        return x * 2, *call.outputs()

    (_, *got), (tangent, *_) = torch.func.jvp(both, (torch.ones(2),), (torch.ones(2),))
    assert torch.equal(tangent, torch.full((2,), 2.0))
    assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call.floating and not call.differentiable])
def test_constants_are_not_differentiated_by_a_transform(name):
    call = CALLS[name]
    value, *others = call.tensors

    def loss(x):
        return call.loss(x, *others)

    with pytest.raises(RuntimeError, match=CONSTANT):
        torch.func.jvp(loss, (value,), (value,))
    with pytest.raises(RuntimeError, match=CONSTANT):
        torch.func.grad(loss)(value)
    # as constants beside something else they do no harm
    gradient = torch.func.grad(lambda x: loss(x.detach()) + x.sum())(value)
    assert torch.equal(gradient, torch.ones_like(value))
    gradient = torch.func.grad(lambda x: call.outputs(x, *others)[-1].detach().sum() * 0 + x.sum())(value)
    assert torch.equal(gradient, torch.ones_like(value))


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if not call.floating])
def test_whole_numbers_have_no_derivative(name):
    call = CALLS[name]
    value, *others = call.tensors

    def weighted(x):
        return (call.outputs(x, *others)[0] * 1.0).sum() + x.sum()

    assert torch.equal(torch.func.grad(weighted)(value), torch.ones_like(value))
    out, tangent = torch.func.jvp(weighted, (value,), (torch.ones_like(value),))
    assert tangent == value.numel()


def test_constants_of_the_box_loss():
    """anchors and gt_boxes are constants, also where they require a gradient."""
    deltas, anchors, boxes, index = CALLS["smooth_l1_box_loss"].tensors
    anchors, boxes = anchors.clone().requires_grad_(), boxes.clone().requires_grad_()
    assert not rx.smooth_l1_box_loss(deltas, anchors, boxes, index).requires_grad
    deltas = deltas.clone().requires_grad_()
    rx.smooth_l1_box_loss(deltas, anchors, boxes, index).sum().backward()
    assert deltas.grad is not None and anchors.grad is None and boxes.grad is None
