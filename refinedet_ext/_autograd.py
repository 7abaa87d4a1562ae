"""Autograd for the registered ops, in a form that eager mode, torch.compile and torch.func all take.

`torch.library.register_autograd` makes an `autograd.Function` that torch.func refuses where it stands, below the
dispatcher. There torch itself uses functions of a single level (`torch._functorch.autograd_function`), which record for
the transform at hand and leave the other levels to the dispatcher. So do these kernels under a transform.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import _C
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

SetupContext = Callable[[Any, tuple[Any, ...], Any], None]
Backward = Callable[..., tuple[Any, ...]]
Kernel = Callable[..., Any]


def make_kernel(op: Any, setup_context: SetupContext, backward: Backward) -> Kernel:
    """For the key "Autograd", with the keyset first: calls `op` below autograd and records how to go back.

    `setup_context(ctx, inputs, output)` gets all inputs, defaults included; `backward(ctx, *grads)` gives a gradient or
    None for each of them.
    """
    name = op._schema.name.split("::")[1]
    no_forward_mode = (
        f"{name}: derivatives in forward mode (torch.func.jvp, jacfwd, torch.autograd.forward_ad) are not available; "
        "take those in reverse mode (torch.func.vjp, jacrev, grad)"
    )
    recorded = _make_recorded(op, setup_context, backward, no_forward_mode)

    def kernel(keyset: _C.DispatchKeySet, *args: Any) -> Any:
        if transformed() or (torch.is_grad_enabled() and _C._any_requires_grad(*args)):
            return recorded(keyset, args)
        return _below_autograd(op, keyset, args)

    return kernel


def make_refusing_kernel(op: Any, why: str) -> Kernel:
    """For an op whose floating results are constants: who differentiates them by a transform is told `why`.

    In eager mode the results do not require a gradient, which says as much.
    """

    def refuse(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        raise RuntimeError(why)

    recorded = _make_recorded(op, lambda ctx, inputs, output: None, refuse, why)

    def kernel(keyset: _C.DispatchKeySet, *args: Any) -> Any:
        return recorded(keyset, args) if transformed() else _below_autograd(op, keyset, args)

    return kernel


def transformed() -> bool:
    """Whether torch.func or torch.autograd.forward_ad looks on."""
    return _C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _make_recorded(op: Any, setup_context: SetupContext, backward: Backward, no_forward_mode: str) -> Kernel:
    """The call of `op` as a node of the graph."""
    defaults = tuple(arg.default_value if arg.has_default_value() else None for arg in op._schema.arguments)

    def forward(ctx: Any, *args: Any) -> Any:
        *inputs, (keyset, modes) = args
        # the levels of torch.func below this one record by themselves, in the modes that apply() switched off
        with torch.set_grad_enabled(modes[0]), forward_ad._set_fwd_grad_enabled(modes[1]):
            result = _below_autograd(op, keyset, inputs)
        setup_context(ctx, tuple(inputs), result)
        return result

    def apply_backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return *backward(ctx, *grads), None

    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(no_forward_mode)

    members = {
        "forward": staticmethod(forward),
        "backward": staticmethod(apply_backward),
        "jvp": staticmethod(jvp),
    }
    name = "".join(part.capitalize() for part in op._schema.name.split("::")[1].split("_"))
    node: Any = type(name, (torch.autograd.Function,), members)
    single_level: Any = type(name, (_SingleLevelFunction,), members)

    def recorded(keyset: _C.DispatchKeySet, args: tuple[Any, ...]) -> Any:
        modes = torch.is_grad_enabled(), _C._is_fwd_grad_enabled()
        every = (*args, *defaults[len(args) :], (keyset, modes))
        if not _C._are_functorch_transforms_active():
            return node.apply(*every)
        with enable_single_level_autograd_function():
            return single_level.apply(*every)

    return recorded


def _below_autograd(op: Any, keyset: _C.DispatchKeySet, args: Any) -> Any:
    with _C._AutoDispatchBelowAutograd():
        return op.redispatch(keyset & _C._after_autograd_keyset, *args)
