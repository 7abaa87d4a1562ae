from __future__ import annotations

import pytest
import torch

from .faces import NumpyFace, TorchFace


@pytest.fixture(params=[TorchFace(), NumpyFace()], ids=lambda face: face.name)
def face(request: pytest.FixtureRequest) -> TorchFace | NumpyFace:
    """The op under test: `face.decode_boxes(...)` on tensors, once by torch and once by NumPy."""
    return request.param


@pytest.fixture(params=[torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=lambda d: str(d)[6:])
def dtype(request: pytest.FixtureRequest, face: TorchFace | NumpyFace) -> torch.dtype:
    """Every floating dtype that the face knows (NumPy has no bfloat16)."""
    if request.param not in face.dtypes:
        pytest.skip("NumPy has no bfloat16")
    return request.param


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(20261120)
