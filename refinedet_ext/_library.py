"""Loads the compiled torch ops once, and explains their absence once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

PATH = Path(__file__).parent / "_torch_ops.so"

_problem: str | None = None
if not PATH.exists():
    _problem = (
        f"refinedet_ext was built without its torch ops ({PATH.name} is missing). Install torch 2.11 or newer first, "
        "then build again next to it: pip install --no-build-isolation --force-reinstall --no-deps refinedet-ext "
        "(or the same with the path of the source tree)"
    )
else:
    try:
        torch.ops.load_library(str(PATH))
    except OSError as error:
        _problem = (
            f"refinedet_ext could not load its torch ops under torch {torch.__version__} "
            f"(2.11 or newer is needed): {error}"
        )

_AUTOCAST_DEVICES = ("cpu", "cuda")
_registrations = torch.library.Library("refinedet_ext", "FRAGMENT")  # keeps the Python kernels alive


def available() -> bool:
    return _problem is None


def require() -> None:
    if _problem is not None:
        raise ImportError(_problem)


def op(name: str) -> Callable[..., Any]:
    """The default overload of a registered op; without the library, a function that says what is missing."""
    if _problem is None:
        return getattr(torch.ops.refinedet_ext, name).default

    def missing(*args: object, **kwargs: object) -> Any:
        require()

    return missing


def qualified(name: str) -> str:
    return f"refinedet_ext::{name}"


def register_fake(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the shapes and dtypes of an op for torch.compile and torch.export."""
    if _problem is not None:
        return lambda function: function
    return torch.library.register_fake(qualified(name))


def register_autograd(name: str, backward: Callable[..., Any], *, setup_context: Callable[..., None]) -> None:
    if _problem is None:
        torch.library.register_autograd(qualified(name), backward, setup_context=setup_context)


def register_no_autograd(name: str, message: str) -> None:
    """For the backward of an op: differentiating it is an error with this message, not a gradient of zero."""

    def refuse(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(message)

    register_autograd(name, refuse, setup_context=lambda ctx, inputs, output: None)


def register_not_differentiable(name: str) -> None:
    """The op's results carry no gradient. It is left out where autograd stands, so that this costs a call nothing."""
    if _problem is None:
        _registrations.impl(name, torch.library.fallthrough_kernel, "Autograd")


def register_autocast(name: str, policy: Literal["float32", "lower"], *, keep: tuple[int, ...] = ()) -> None:
    """Under autocast an op's float tensors are cast to float32, or to the dtype that autocast was entered with.

    As with torch's own ops float64 stays as it is; so do the arguments at the positions `keep`.
    """
    if _problem is not None:
        return
    call = op(name)
    for device in _AUTOCAST_DEVICES:

        def cast_and_call(*args: Any, _device: str = device) -> Any:
            dtype = torch.float32 if policy == "float32" else torch.get_autocast_dtype(_device)
            with torch.autocast(_device, enabled=False):
                return call(*[arg if i in keep else _cast(arg, dtype) for i, arg in enumerate(args)])

        _registrations.impl(name, cast_and_call, f"Autocast{device.upper()}")


def autocasting(device: torch.device) -> bool:
    """Whether autocast is on for this device; where there is none (meta) it is not."""
    return device.type in _AUTOCAST_DEVICES and torch.is_autocast_enabled(device.type)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.to(dtype)
    return value
