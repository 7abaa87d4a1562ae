"""Faults put before the tests, one at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from .faults import Fault
from .record import Record
from .workshop import BUILDS, DOES_NOT_COMPILE, Build, Workshop


@dataclass(frozen=True)
class Verdict:
    """What is known of a fault: by test and build what was noticed, "" if nothing; whether all was tried."""

    fault: Fault
    outcomes: dict[tuple[str, str], str]
    complete: bool

    @property
    def kind(self) -> str:
        if self.fault.harmless:
            return "harmless"
        if DOES_NOT_COMPILE in self.outcomes.values():
            return DOES_NOT_COMPILE
        if any(self.outcomes.values()):
            return "noticed"
        return "unnoticed" if self.complete else "not run"

    def __str__(self) -> str:
        """Who noticed what; of a harmless fault why it is."""
        if self.kind == "noticed":
            return ", ".join(f"{build}: {what} ({test})" for (test, build), what in self.outcomes.items() if what)
        return f"harmless: {self.fault.harmless}" if self.fault.harmless else self.kind


def orders_threads(fault: Fault) -> bool:
    """Whether the fault changes when threads see what others do, not where anybody reads or writes."""
    return fault.what.endswith((" removed", " made plain"))


class Trials:
    """Several threads may try faults at a time.

    Args:
        workshop: builds and runs.
        record: what is known of earlier runs; outcomes are added.
        everything: go through all builds of a test that has noticed.
    """

    def __init__(self, workshop: Workshop, record: Record, *, everything: bool) -> None:
        self.workshop, self.record, self.everything = workshop, record, everything
        self.lock = Lock()

    def judge(self, fault: Fault, *, run: bool) -> Verdict:
        """Runs what is not known of a fault until a test notices it; without `run` tells what is known."""
        outcomes: dict[tuple[str, str], str] = {}
        if fault.harmless:
            return Verdict(fault, outcomes, complete=True)
        told: Path | None = None  # the test that has noticed
        with tempfile.TemporaryDirectory() as folder:
            for test, build in self.attempts(fault):
                if told not in (None, test):
                    continue
                key = self.workshop.key(test, build, fault)
                noticed = self.record.get(key)
                if noticed is None and not run:
                    return Verdict(fault, outcomes, complete=False)
                if noticed is None:
                    self.expect_to_pass(test, build)
                    noticed = self.workshop.run(test, build, Path(folder), fault)
                    self.record.add(key, noticed)
                outcomes[test.stem, build.name] = noticed
                if noticed == DOES_NOT_COMPILE or (noticed and not self.everything):
                    break
                if noticed:
                    told = test
        return Verdict(fault, outcomes, complete=True)

    def attempts(self, fault: Fault) -> Iterator[tuple[Path, Build]]:
        """The tests that reach a fault, nearest first, and the build that is least likely to notice it last of all."""
        tests = self.workshop.nearest_first(fault)
        plain, address, thread = BUILDS
        likely, last = (thread, address) if orders_threads(fault) else (address, thread)
        yield from ((test, build) for test in tests for build in (plain, likely))
        yield from ((test, last) for test in tests)

    def expect_to_pass(self, test: Path, build: Build) -> None:
        """A test that fails undamaged would notice anything."""
        with self.lock:  # one builds, the others find it built
            self.workshop.build(self.workshop.sources_of(test), build)
            key = self.workshop.key(test, build)
            if self.record.get(key) is None:
                with tempfile.TemporaryDirectory() as folder:
                    noticed = self.workshop.run(test, build, Path(folder))
                if noticed:
                    raise SystemExit(f"{test.name} fails undamaged in the {build.name} build: {noticed}")
                self.record.add(key, noticed)
