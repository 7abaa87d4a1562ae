"""Autograd for the registered ops, in the one form that eager, torch.compile and torch.func all take.

`torch.library.register_autograd` makes an `autograd.Function` whose `apply` torch.func refuses. Below the dispatcher
torch itself uses functions of a single level (`torch._functorch.autograd_function`), which record for the transform at
hand and leave the other levels to the dispatcher. So do these kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import _C
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

SetupContext = Callable[[Any, tuple[Any, ...], Any], None]
Backward = Callable[..., tuple[Any, ...]]


def make_kernel(op: Any, setup_context: SetupContext, backward: Backward) -> Callable[..., Any]:
    """For the key "Autograd", with the keyset first: calls `op` below autograd and records how to go back.

    `setup_context(ctx, inputs, output)` gets all inputs, defaults included; `backward(ctx, *grads)` gives a gradient or
    None for each of them.
    """
    name = op._schema.name.split("::")[1]
    node = _make_node(op, name, setup_context, backward)
    defaults = _defaults(op)

    def call(keyset: _C.DispatchKeySet, *args: Any) -> Any:
        transformed = _C._are_functorch_transforms_active()
        recorded = torch.is_grad_enabled() and _C._any_requires_grad(*args)
        if not (transformed or recorded or _forward_mode()):
            return _below_autograd(op, keyset, args)
        modes = (torch.is_grad_enabled(), _C._is_fwd_grad_enabled()) if transformed else None
        with enable_single_level_autograd_function() if transformed else nullcontext():
            return node.apply(*args, *defaults[len(args) :], (keyset, modes))

    return call


def make_refusing_kernel(op: Any, why: str) -> Callable[..., Any]:
    """For an op whose floating results are constants: who differentiates them by a transform is told `why`.

    In eager mode the results do not require a gradient, which says as much.
    """

    def refuse(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        raise RuntimeError(why)

    node = _make_node(op, op._schema.name.split("::")[1], lambda ctx, inputs, output: None, refuse, why)
    defaults = _defaults(op)

    def call(keyset: _C.DispatchKeySet, *args: Any) -> Any:
        transformed = _C._are_functorch_transforms_active()
        if not (transformed or _forward_mode()):
            return _below_autograd(op, keyset, args)
        modes = torch.is_grad_enabled(), _C._is_fwd_grad_enabled()
        with enable_single_level_autograd_function() if transformed else nullcontext():
            return node.apply(*args, *defaults[len(args) :], (keyset, modes))

    return call


def _make_node(
    op: Any, name: str, setup_context: SetupContext, backward: Backward, no_forward_mode: str | None = None
) -> Any:
    no_forward_mode = no_forward_mode or (
        f"{name}: derivatives in forward mode (torch.func.jvp, jacfwd, torch.autograd.forward_ad) are not available; "
        "take those in reverse mode (torch.func.vjp, jacrev, grad)"
    )

    def forward(ctx: Any, *args: Any) -> Any:
        *inputs, (keyset, modes) = args
        if modes is None:
            result = _below_autograd(op, keyset, inputs)
        else:  # the levels below record by themselves, for which they need the modes that apply() switched off
            with torch.set_grad_enabled(modes[0]), forward_ad._set_fwd_grad_enabled(modes[1]):
                result = _below_autograd(op, keyset, inputs)
        setup_context(ctx, tuple(inputs), result)
        return result

    def apply_backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return *backward(ctx, *grads), None

    def jvp(ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(no_forward_mode)

    members = {"forward": forward, "backward": apply_backward, "jvp": jvp}
    title = "".join(part.capitalize() for part in name.split("_"))
    return type(title, (_SingleLevelFunction,), {key: staticmethod(value) for key, value in members.items()})


def _below_autograd(op: Any, keyset: _C.DispatchKeySet, args: Any) -> Any:
    with _C._AutoDispatchBelowAutograd():
        return op.redispatch(keyset & _C._after_autograd_keyset, *args)


def _forward_mode() -> bool:
    return forward_ad._current_level >= 0


def _defaults(op: Any) -> tuple[Any, ...]:
    return tuple(arg.default_value if arg.has_default_value() else None for arg in op._schema.arguments)
