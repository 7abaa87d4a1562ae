"""A plugin of pytest that tells of every test (see `events.py`): -p benchmarks.gpu.pytest_events.

A test after which the GPU gives only errors ends the process; the next one goes on behind it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from .events import DEAD, SHARD, EventLog, done_before

_log = EventLog.from_environment()
_reports = pytest.StashKey[list[pytest.TestReport]]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    first, step = (int(part) for part in os.environ.get(SHARD, "0/1").split("/"))
    done = done_before()
    mine = items[first::step]
    _log.write({"plan": [item.nodeid for item in mine]})
    left = [item for item in mine if item.nodeid not in done]
    kept = {id(item) for item in left}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in kept])
    items[:] = left


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _log.write({"row": {"key": report.nodeid, "error": f"not collected: {_last_line(report)}"}})


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    item.stash.setdefault(_reports, []).append(outcome.get_result())


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _log.write({"began": item.nodeid})
    yield
    reports = item.stash.get(_reports, [])
    failed = [report for report in reports if report.failed]
    row: dict[str, Any] = {"key": item.nodeid, "seconds": round(sum(report.duration for report in reports), 2)}
    if failed:
        row["error"] = _last_line(failed[0])
    elif any(report.skipped for report in reports):
        row["skipped"] = True
    alive = not failed or _gpu_answers()
    _log.write({"row": row, "alive": alive})
    if not alive:
        os._exit(DEAD)  # whatever pytest would still do on its way out fails as well


def _last_line(report: pytest.TestReport | pytest.CollectReport) -> str:
    lines = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
    return (lines or report.longreprtext.splitlines() or [""])[0][:200]


def _gpu_answers() -> bool:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True
