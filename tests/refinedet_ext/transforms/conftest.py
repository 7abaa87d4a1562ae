from __future__ import annotations

import pytest

from .calls import CALLS, DIFFERENTIABLE, Call


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Call:
    """Every op."""
    return CALLS[request.param]


@pytest.fixture(params=DIFFERENTIABLE)
def differentiable(request: pytest.FixtureRequest) -> Call:
    """Every op that has gradients."""
    return DIFFERENTIABLE[request.param]
