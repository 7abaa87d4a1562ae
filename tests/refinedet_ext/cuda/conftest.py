"""Tests named *_on_gpu are for a GPU alone; elsewhere they are skipped."""

from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = None
    if not torch.cuda.is_available():
        reason = "no GPU"
    elif not rx.build_info()["cuda"]:
        reason = "refinedet_ext was built without CUDA"
    for item in items:
        if "tests/refinedet_ext/cuda/" in item.path.as_posix() and item.path.stem.endswith("_on_gpu"):
            item.add_marker(pytest.mark.cuda)
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
