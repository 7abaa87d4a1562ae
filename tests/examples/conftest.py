from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ..refinedet.inference.makers import save_small_model

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def photo(tmp_path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    path = tmp_path / "photo.png"
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path
