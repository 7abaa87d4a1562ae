from __future__ import annotations

from typing import Any

import pytest
import torch

import refinedet_ext as rx


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Times are those of one thread: the machine's other work and the peers' threading stay out of the ratio."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["refinedet_ext"] = rx.build_info()
    machine_info["threads"] = 1
