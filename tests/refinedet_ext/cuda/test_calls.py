"""Typical calls on the CUDA kernels give what they give on the CPU kernels: on a GPU, else emulated."""

from __future__ import annotations

import pytest

from ...support.cuda_kernels import find
from .calls import CALLS, same

pytestmark = pytest.mark.cuda
_kernels = find()


@pytest.mark.skipif(isinstance(_kernels, str), reason=str(_kernels))
@pytest.mark.parametrize("name", CALLS)
def test_equals_the_cpu(name):
    call = CALLS[name]
    inputs = call.inputs(0)
    expected = call.run(*inputs)
    with _kernels:
        got = call.run(*inputs)
    same(call, got, expected)
