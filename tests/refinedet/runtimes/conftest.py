"""Small models as files of every kind, written once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import refinedet
from refinedet.export import export_onnx, export_openvino, export_program
from refinedet.runtimes.converted import converted

NAMES = ["red", "white", "platelet"]


def needs(*modules: str) -> None:
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is not installed")


def build(name: str = "refinedet192_small", **options):
    """A model in eval mode whose scores are not all 0 or 1."""
    torch.manual_seed(0)
    options = {"nms": {"keep_top_k": 20, "iou_threshold": 0.3}, **options}
    model = refinedet.create_model(name, 1 + len(NAMES), **options).train()
    size = model.config.input_size
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(4, 3, size, size) * 50)
    return model.eval()


@pytest.fixture(scope="session")
def small():
    return build(input_size=64, tcb_channels=16)


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runtimes")


@pytest.fixture(scope="session")
def weights(small, folder) -> Path:
    return refinedet.save_model(small, folder / "model.safetensors", class_names=NAMES)


@pytest.fixture(scope="session", autouse=True)
def cache(folder) -> Iterator[Path]:
    """The user's cache folder, for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder / "cache" / "refinedet-ext"


@pytest.fixture(scope="session")
def onnx_file(weights, cache) -> Path:
    """Raw outputs, any number of images: what the model file is converted to."""
    needs("onnx", "onnxscript", "onnxruntime")
    return converted(weights, options={})


@pytest.fixture(scope="session")
def whole_file(small, folder) -> Path:
    """Pixels in, detections out, two images in a call."""
    needs("onnx", "onnxscript", "onnxruntime")
    path = folder / "whole.onnx"
    export_onnx(small, path, class_names=NAMES, batch_size=2, end_to_end=True, pixels="uint8")
    return path


@pytest.fixture(scope="session")
def xml_file(small, folder) -> Path:
    needs("onnx", "onnxscript", "onnxruntime", "openvino")
    path = folder / "model.xml"
    export_openvino(small, path, class_names=NAMES, batch_size=2, dynamic_batch=True)
    return path


@pytest.fixture(scope="session")
def program_file(small, folder) -> Path:
    path = folder / "model.pt2"
    export_program(small, path, class_names=NAMES, batch_size=2, dynamic_batch=True)
    return path


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """Three images of different sizes."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((90, 160, 3), (64, 64, 3), (50, 40, 3))]
