"""Loads the compiled torch ops once, and explains their absence once."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from . import _autograd, _vmap

PATH = Path(__file__).parent / "_torch_ops.so"

_problem: str | None = None
if not PATH.exists():
    _problem = (
        f"refinedet_ext was built without its torch ops ({PATH.name} is missing). Install torch 2.11 or newer first, "
        "then build again next to it: pip install --no-build-isolation --force-reinstall --no-deps . "
        "in the folder of its source"
    )
else:
    try:
        torch.ops.load_library(str(PATH))
    except OSError as error:
        _problem = (
            f"refinedet_ext could not load its torch ops under torch {torch.__version__} "
            f"(2.11 or newer is needed): {error}"
        )

SLOW_BFLOAT16 = (
    "refinedet_ext: this CPU has no bfloat16 instructions, so that autocast to bfloat16 is slower here than float32: "
    "leave autocast out, or take a GPU"
)

_LOCATION = re.compile(r"\A\w+, \S+\.(?:cpp|cu|h):\d+, ")  # how torch's stable ABI begins what a check says
_AUTOCAST_DEVICES = ("cpu", "cuda")
_registrations = torch.library.Library("refinedet_ext", "FRAGMENT")  # keeps the Python kernels alive


def available() -> bool:
    return _problem is None


def require() -> None:
    if _problem is not None:
        raise ImportError(_problem)


def multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions that multiply bfloat16; where it has none, such products are emulated.

    The environment variable REFINEDET_EXT_CPU_LEVEL counts: below the machine's best level it has none. Also true where
    the compiled ops, which know, are missing.
    """
    return _problem is not None or bool(torch.ops.refinedet_ext._multiplies_bfloat16())


def convolutions_use_tf32() -> bool:
    """Whether torch's convolutions may round float32 to TF32 on a GPU now. The setting is the one that
    `torch.backends.cudnn.allow_tf32` and, since torch 2.9, `torch.backends.cudnn.conv.fp32_precision` write."""
    return torch.backends.cudnn.conv.fp32_precision == "tf32"  # type: ignore[attr-defined]


if _problem is None:
    # Asked by the ops when they run, compiled and exported ones too. This key comes before the C++ answer for
    # processes without Python, and nothing else stands there.
    _registrations.impl("_convolutions_use_tf32", convolutions_use_tf32, "BackendSelect")


def op(name: str) -> Callable[..., Any]:
    """The default overload of a registered op; without the library, a function that says what is missing."""
    if _problem is None:
        return getattr(torch.ops.refinedet_ext, name).default

    def missing(*args: object, **kwargs: object) -> Any:
        require()

    return missing


def drop_location(error: Exception) -> None:
    """Take the function, file and line of C++ out of the front of an error's message, where they stand."""
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (_LOCATION.sub("", error.args[0]),)


def qualified(name: str) -> str:
    return f"refinedet_ext::{name}"


def register_fake(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the shapes and dtypes of an op for torch.compile and torch.export."""
    if _problem is not None:
        return lambda function: function
    return torch.library.register_fake(qualified(name))


def register_autograd(name: str, backward: Callable[..., Any], *, setup_context: Callable[..., None]) -> None:
    """`setup_context(ctx, inputs, output)`, then `backward(ctx, *grads)` with a gradient or None for every input."""
    if _problem is None:
        kernel = _autograd.make_kernel(op(name), setup_context, backward)
        _registrations.impl(name, kernel, "Autograd", with_keyset=True)


def register_no_second_derivative(name: str) -> None:
    """For the backward of an op: differentiating it is an error that says so, not a gradient of zero."""
    of = name.removeprefix("_").removesuffix("_backward")

    def refuse(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(f"{of}: a second derivative is not available")

    register_autograd(name, refuse, setup_context=lambda ctx, inputs, output: None)


def register_not_differentiable(name: str, *, floating: bool = False) -> None:
    """The op's results carry no gradient. It is left out where autograd stands, so that this costs a call nothing.

    floating: some results are floating, and a transform of torch.func could go on to differentiate them. Who asks for
    that gets an error instead of zeros.
    """
    if _problem is not None:
        return
    if floating:
        why = f"{name}: its results are not differentiable; detach() what goes in, or what comes out"
        kernel = _autograd.make_refusing_kernel(op(name), why)
        _registrations.impl(name, kernel, "Autograd", with_keyset=True)
    else:
        _registrations.impl(name, torch.library.fallthrough_kernel, "Autograd")


def register_vmap(name: str, rule: _vmap.Rule | None = None, *, images: Mapping[int, int] | None = None) -> None:
    """How torch.vmap runs the op: by its own rule, in its batch of `images` (see `_vmap.make_rule`), or in turn."""
    if _problem is None:
        rule = rule or _vmap.make_rule(op(name), images or {})
        torch.library.register_vmap(qualified(name), rule, lib=_registrations)


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
            if dtype is torch.bfloat16 and _device == "cpu" and not multiplies_bfloat16():
                _warn_of_slow_bfloat16()
            with torch.autocast(_device, enabled=False):
                return call(*[arg if i in keep else cast_floating(arg, dtype) for i, arg in enumerate(args)])

        _registrations.impl(name, cast_and_call, f"Autocast{device.upper()}")


@functools.cache  # once in a process
def _warn_of_slow_bfloat16() -> None:
    warnings.warn(SLOW_BFLOAT16, stacklevel=3)


def autocasting(device: torch.device) -> bool:
    """Whether autocast is on for this device; where there is none (meta) it is not."""
    return device.type in _AUTOCAST_DEVICES and torch.is_autocast_enabled(device.type)


def cast_floating(value: Any, dtype: torch.dtype) -> Any:
    """As autocast casts: floating tensors but those of float64."""
    if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64:
        return value.to(dtype)
    return value
