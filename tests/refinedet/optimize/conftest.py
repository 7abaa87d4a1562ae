from __future__ import annotations

import pytest

from refinedet import optimize_for_inference

from .networks import build


@pytest.fixture(scope="session")
def small():
    return build("refinedet320_small")


@pytest.fixture(scope="session")
def fast(small):
    return optimize_for_inference(small, dtype="float32")
