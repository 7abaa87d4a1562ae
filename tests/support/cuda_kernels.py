"""The same op tests on the CUDA kernels: a mode under which the ops' CPU tensors are computed on by these."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import refinedet_ext as rx
from refinedet_ext._library import convolutions_use_tf32

ON_HOST = "refinedet_ext_on_host"  # the namespace of the emulated ops
_library = Path(__file__).parents[2] / "build/editable/_torch_ops_on_host.so"


class _Redirect(TorchDispatchMode):
    """Sends the calls of this package's ops to `call(func, args, kwargs)`, which sees no autograd any more.

    While it is on, float32 is not rounded to TF32, as results are compared with the CPU's.
    """

    call: Callable[[Any, tuple, dict], Any]

    def __enter__(self) -> Any:
        self._tf32 = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = False
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.backends.cudnn.allow_tf32 = self._tf32

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        meta = torch.utils._pytree.tree_any_only(torch.Tensor, lambda t: t.is_meta, (args, kwargs))
        if func.namespace != "refinedet_ext" or meta:
            return func(*args, **kwargs or {})
        try:
            return self.call(func, args, kwargs or {})
        except RuntimeError as error:
            if "on a GPU, got float64" in str(error):
                pytest.skip("float64 is for the CPU")
            raise


class Emulated(_Redirect):
    """The kernels run on the CPU (tests/cuda_on_host)."""

    def call(self, func: Any, args: tuple, kwargs: dict) -> Any:
        name = func.name().removeprefix("refinedet_ext::")
        return getattr(getattr(torch.ops, ON_HOST), name).default(*args, **kwargs)


class OnGpu(_Redirect):
    """Arguments are copied to the GPU and results back."""

    def call(self, func: Any, args: tuple, kwargs: dict) -> Any:
        def move(value: Any, device: str) -> Any:
            return torch.utils._pytree.tree_map_only(torch.Tensor, lambda t: t.to(device), value)

        return move(func(*move(args, "cuda"), **move(kwargs, "cuda")), "cpu")


def find() -> _Redirect | str:
    """How CUDA kernels can be run here: on a GPU, else emulated; a string says why they cannot."""
    if torch.cuda.is_available():
        if not rx.build_info()["cuda"]:
            return "refinedet_ext was built without CUDA"
        return OnGpu()
    path = Path(os.environ.get("REFINEDET_EXT_ON_HOST", _library))
    if not path.exists():
        return f"no GPU, and the emulated kernels are not built ({path.name}; make test-cpp)"
    _load(str(path))
    return Emulated()


@functools.cache  # once in a process
def _load(path: str) -> torch.library.Library:
    """The emulated ops, and what Python answers them. Kept alive by the cache."""
    torch.ops.load_library(path)
    answers = torch.library.Library(ON_HOST, "FRAGMENT")
    answers.impl("_convolutions_use_tf32", convolutions_use_tf32, "BackendSelect")
    return answers
