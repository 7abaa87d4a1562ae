from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from ...support import cuda_kernels
from .faces import NumpyFace, TorchFace

_cuda = cuda_kernels.find()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of an op runs on the CPU kernels and on the CUDA kernels, unless it is marked `cpu_only`."""
    if metafunc.definition.get_closest_marker("cpu_only") is None:
        metafunc.parametrize("kernels", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """NumPy arrays are for the CPU."""

    def makes_sense(item: pytest.Item) -> bool:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        return not (params.get("kernels") == "cuda" and isinstance(params.get("face"), NumpyFace))

    items[:] = [item for item in items if makes_sense(item)]


@pytest.fixture(autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which kernels the ops run: "cpu" or "cuda"."""
    where = getattr(request, "param", "cpu")
    if where == "cpu":
        yield where
        return
    if isinstance(_cuda, str):
        pytest.skip(_cuda)
    with _cuda:
        yield where


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
