"""Drives the cases of a bench file by pytest-benchmark: `contestant` runs through all that stand in its `cases()`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

import refinedet_ext as rx

from .case import Case
from .machine import products_run
from .runner import FLOOR, OURS, Prepared, with_threads

BUDGET = 0.5  # seconds that the rounds of one contestant may take
MOST_ROUNDS = 200


class Contestant:
    """One way to do a case, with a number of threads."""

    prepared: Prepared | None = None  # of the last case: its contestants come one after the other

    def __init__(self, case: Case, threads: int, who: str) -> None:
        self.case, self.threads, self.who = case, threads, who

    def __str__(self) -> str:
        return f"{self.case.title()}, {self.threads} threads: {self.who}"

    def time(self, benchmark: Any) -> None:
        """Checks ours, then times the contestant."""
        if self.case.skip:
            pytest.skip(self.case.skip)
        with with_threads(self.threads):
            if Contestant.prepared is None or Contestant.prepared.case is not self.case:
                Contestant.prepared = Prepared(self.case)
            prepared = Contestant.prepared
            prepared.check()
            if self.who == OURS:
                run = prepared.ours()
            elif self.who == FLOOR:
                run = products_run(self.case.products, self.case.dtype)
            else:
                ready = prepared.peer(self.who)
                if isinstance(ready, str):
                    pytest.skip(f"{self.who}: {ready}")
                run = ready
            benchmark.group = f"{self.case.title()}, {self.threads} threads"
            with prepared.mode():
                began = time.perf_counter()
                run()
                rounds = int(BUDGET / (time.perf_counter() - began))
                benchmark.pedantic(run, rounds=min(max(rounds, 1), MOST_ROUNDS), warmup_rounds=min(rounds, 2))


def contestants(cases: Iterator[Case]) -> Iterator[Contestant]:
    for case in cases:
        for threads in case.threads:
            if threads <= (os.cpu_count() or 1):
                for who in (OURS, *case.peers, *([FLOOR] if case.products else [])):
                    yield Contestant(case, threads, who)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "contestant" in metafunc.fixturenames:
        metafunc.parametrize("contestant", list(contestants(metafunc.module.cases())), ids=str)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    machine_info["refinedet_ext"] = rx.build_info()
