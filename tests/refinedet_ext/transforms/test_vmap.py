"""torch.vmap of an op is the calls one by one, with the gradients."""

from __future__ import annotations

import pytest
import torch

from .calls import CALLS
from .test_autograd import TOLERANCE

SIZE = 3
MAPPED = [(name, batched) for name, call in CALLS.items() for batched in ("all", *range(len(call.tensors)))]


def several(call, batched):
    """(tensors, in_dims): SIZE versions of the tensor at position `batched`, or of all of them."""
    rng = torch.Generator().manual_seed(3)
    tensors, dims = [], []
    for i, tensor in enumerate(call.tensors):
        if batched not in ("all", i):
            tensors.append(tensor.clone())
            dims.append(None)
            continue
        versions = [tensor]
        for _ in range(SIZE - 1):
            scale = 1 + 0.1 * torch.rand((), generator=rng)
            versions.append(tensor * scale if tensor.is_floating_point() else tensor)
        dim = min(i, tensor.dim()) if batched == "all" else 0
        tensors.append(torch.stack(versions, dim))
        dims.append(dim)
    return tensors, tuple(dims)


def one_by_one(call, tensors, dims):
    results = [
        call.outputs(*(t if d is None else t.select(d, i) for t, d in zip(tensors, dims, strict=True)))
        for i in range(SIZE)
    ]
    return [torch.stack(parts) for parts in zip(*results, strict=True)]


@pytest.mark.parametrize(("name", "batched"), MAPPED)
def test_equals_the_calls_one_by_one(name, batched):
    call = CALLS[name]
    tensors, dims = several(call, batched)
    if not call.fixed_size:
        with pytest.raises(RuntimeError, match=f"{name}: how many boxes are kept depends on the data"):
            torch.vmap(call.outputs, in_dims=dims)(*tensors)
        return
    got = torch.vmap(call.outputs, in_dims=dims)(*tensors)
    for a, b in zip(got, one_by_one(call, tensors, dims), strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE)


@pytest.mark.parametrize("batched", ["all", 0, 1])
def test_gradients(differentiable, batched):
    tensors, dims = several(differentiable, batched)
    gradients = []
    for run in (lambda *t: torch.vmap(differentiable.outputs, in_dims=dims)(*t), None):
        leaves = [
            t.clone().requires_grad_() if i in differentiable.differentiable else t for i, t in enumerate(tensors)
        ]
        outputs = run(*leaves) if run else one_by_one(differentiable, leaves, dims)
        out = next(part for part in outputs if part.is_floating_point())
        assert out.requires_grad
        weight = torch.arange(1.0, out.numel() + 1).reshape(out.shape)
        wanted = [leaves[i] for i in differentiable.differentiable]
        gradients.append(torch.autograd.grad((out * weight).sum(), wanted))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)  # weights up to a few hundred


@pytest.mark.parametrize("batched", ["all", 0])
def test_of_a_gradient(differentiable, batched):
    """Gradients per sample, and the gradient of what is mapped."""
    tensors, dims = several(differentiable, batched)
    per_sample = torch.vmap(torch.func.grad(differentiable.loss), in_dims=dims)(*tensors)
    for i in range(SIZE):
        sample = [t if d is None else t.select(d, i) for t, d in zip(tensors, dims, strict=True)]
        torch.testing.assert_close(per_sample[i], torch.func.grad(differentiable.loss)(*sample), **TOLERANCE)

    def total(first):
        return torch.vmap(differentiable.loss, in_dims=dims)(first, *tensors[1:]).sum()

    torch.testing.assert_close(torch.func.grad(total)(tensors[0]).movedim(dims[0], 0), per_sample, **TOLERANCE)


def test_of_a_vmap(call):
    if not call.fixed_size:
        pytest.skip("has no results to stack")
    tensors, dims = several(call, 0)
    twice = torch.stack([tensors[0], tensors[0]], dim=1)
    got = torch.vmap(torch.vmap(call.outputs, in_dims=dims), in_dims=(1, *[None] * (len(tensors) - 1)))(
        twice, *tensors[1:]
    )
    for a, b in zip(got, one_by_one(call, tensors, dims), strict=True):
        torch.testing.assert_close(a[0], b, **TOLERANCE)
        torch.testing.assert_close(a[1], b, **TOLERANCE)


def test_every_op_has_a_rule():
    ours = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("refinedet_ext::")]
    with_tensors = [n for n in ours if any("Tensor" in str(a.type) for a in schema(n).arguments)]
    assert len(with_tensors) >= 20
    for name in with_tensors:
        for key in ("FuncTorchBatched", "Autograd", "Meta"):
            assert torch._C._dispatch_has_kernel_for_dispatch_key(name, key), (name, key)


def schema(name):
    return getattr(torch.ops.refinedet_ext, name.split("::")[1]).default._schema
