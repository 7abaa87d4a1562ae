from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import refinedet

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ["red", "white", "platelet"]


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """A small model that finds something in any image."""
    torch.manual_seed(0)
    options = {"input_size": 64, "tcb_channels": 16, "nms": {"keep_top_k": 5, "iou_threshold": 0.3}}
    model = refinedet.create_model("refinedet192_small", 4, **options)
    with torch.no_grad():  # statistics for the batch norms, so that the scores are not all 0 or 1
        for _ in range(20):
            model(torch.randn(4, 3, 64, 64) * 50)
    return refinedet.save_model(model, tmp_path_factory.mktemp("weights") / "m.safetensors", class_names=NAMES)


@pytest.fixture
def photo(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    path = tmp_path / "photo.png"
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path
