"""What is raised around an op comes out as it was raised, and the op is called once."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

ERRORS = [
    TimeoutError("too long"),  # as signal handlers raise it
    KeyboardInterrupt(),
    MemoryError(),
    RuntimeError("CUDA out of memory"),
    torch.OutOfMemoryError("out of memory"),
    TypeError("of a hook"),
    ValueError("of a hook"),
    AttributeError("of a hook"),
]


class Raising(TorchDispatchMode):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "refinedet_ext":
            self.calls += 1
            raise self.error
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_of_a_dispatch_mode(call, error):
    with Raising(error) as mode, pytest.raises(type(error)) as raised:
        call.outputs()
    assert raised.value is error
    assert mode.calls == 1


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_of_a_saved_tensor_hook(differentiable, error):
    calls = 0

    def pack(tensor):
        nonlocal calls
        calls += 1
        raise error

    leaves = differentiable.leaves()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x), pytest.raises(type(error)) as raised:
        differentiable.outputs(*leaves)
    assert raised.value is error
    assert calls == 1


class Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "refinedet_ext":
            self.names.append(func.name())
        return func(*args, **kwargs or {})


def test_one_call_of_one_op_with_and_without_gradients(differentiable):
    leaves = differentiable.leaves()
    with Counting() as recorded:
        differentiable.outputs(*leaves)
    with Counting() as plain, torch.no_grad():
        differentiable.outputs(*leaves)
    with Counting() as inference, torch.inference_mode():
        differentiable.outputs()
    assert len(plain.names) == 1
    assert plain.names == recorded.names == inference.names
