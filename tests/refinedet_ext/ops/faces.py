"""The two faces of the box ops behind one: tensors in, tensors out, so that a test runs on both unchanged."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import refinedet_ext as rx
import refinedet_ext.numpy as rxn


def _to_numpy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_to_numpy, value))
    return value


def _to_torch(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_to_torch, value))
    return value


class NumpyFace:
    """`refinedet_ext.numpy`, called with tensors."""

    name = "numpy"
    dtypes = (torch.float32, torch.float64, torch.float16)

    def __getattr__(self, op: str) -> Any:
        function = getattr(rxn, op)

        def call(*args: Any, **kwargs: Any) -> Any:
            args = tuple(_to_numpy(arg) for arg in args)
            return _to_torch(function(*args, **{k: _to_numpy(v) for k, v in kwargs.items()}))

        return call


class TorchFace:
    name = "torch"
    dtypes = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

    def __getattr__(self, op: str) -> Any:
        return getattr(rx, op)
