"""Watches a process that runs rows, ends the row that takes too long, and starts another process behind it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .events import DEAD, DONE, EVENTS, EventReader
from .processes import Machine, Process

PAUSE = 0.05  # seconds between two looks


@dataclass(frozen=True)
class Limits:
    """Seconds: for a row, and for what a process does before its first."""

    row: float
    start: float


class Lane:
    """One command and its rows, in as many processes as it takes; `look` now and then until it returns the result.

    rows: grow as they come; one that was ended has an "error".
    """

    def __init__(
        self,
        machine: Machine,
        command: Sequence[str],
        folder: Path,
        name: str,
        limits: Limits,
        environment: Mapping[str, str],
    ) -> None:
        self.machine, self.command, self.limits = machine, list(command), limits
        self.rows: list[dict[str, Any]] = []
        self.planned: list[str] | None = None
        self.log = folder / f"{name}.log"
        self._events, self._done = folder / f"{name}.events", folder / f"{name}.done"
        self._environment = {**environment, EVENTS: str(self._events), DONE: str(self._done)}
        self._process: Process | None = None
        self._keys: set[str] = set()
        self._wrong = ""  # what a process said besides its rows

    def _start(self) -> None:
        self._events.unlink(missing_ok=True)
        self._done.write_text(json.dumps(sorted(self._keys)))
        self._reader = EventReader(self._events)
        self._rows_before, self._under_way = len(self._keys), ""
        self._since = self.machine.clock()
        self._process = self.machine.start(self.command, self.log, self._environment)

    def look(self) -> str | None:
        """None while it goes on, "ok" where every row was reached and the process says so, else what happened."""
        if self._process is None:
            try:
                self._start()
            except FileNotFoundError as error:
                return f"missing: {error.filename}"
        assert self._process is not None
        code = self._process.code()
        self._read()
        if code is not None:
            return self._ended(f"killed by signal {-code}" if code < 0 else f"ended with {code}", code in (0, DEAD))
        limit = self.limits.row if self._under_way else self.limits.start
        if self.machine.clock() - self._since <= limit:
            return None
        self._process.kill()
        self._read()
        return self._ended(f"stopped after {limit:.0f} s", False)

    def stop(self) -> None:
        """Ends what still runs: the time is up, or the whole check ends."""
        if self._process is not None:
            self._process.kill()
            self._read()
            if self._under_way:
                self._take({"key": self._under_way, "error": "not finished in the time given"})
        for key in self._left():
            self._take({"key": key, "not reached": True})

    def _ended(self, why: str, clean: bool) -> str | None:
        """The next process goes on behind the rows that are there, unless this one brought none."""
        if self._under_way:
            self._take({"key": self._under_way, "error": why})
        elif not clean:
            self._wrong = self._wrong or why
        unfinished = self.planned is None or bool(self._left())
        if unfinished and len(self._keys) > self._rows_before:
            self._process = None
            return None
        return self._wrong or (f"{why} before all rows were there" if unfinished else "ok")

    def _left(self) -> list[str]:
        return [key for key in self.planned or [] if key not in self._keys]

    def _read(self) -> None:
        for event in self._reader.new():
            self._since = self.machine.clock()
            if "plan" in event:
                self.planned = event["plan"]
            elif "began" in event:
                self._under_way = event["began"]
            else:
                self._take(event["row"])

    def _take(self, row: dict[str, Any]) -> None:
        self._under_way = ""
        if row["key"] not in self._keys:
            self._keys.add(row["key"])
            self.rows.append(row)


def run_lanes(lanes: Sequence[Lane], deadline: float, changed: Callable[[], None]) -> str:
    """Until all have ended or the time is up. `changed` is called when there are new rows."""
    try:
        return _run(lanes, deadline, changed)
    finally:
        for lane in lanes:
            lane.stop()


def _run(lanes: Sequence[Lane], deadline: float, changed: Callable[[], None]) -> str:
    results: list[str | None] = [None] * len(lanes)
    count = 0
    while None in results:
        for i, lane in enumerate(lanes):
            if results[i] is None:
                results[i] = lane.look()
        if sum(len(lane.rows) for lane in lanes) > count:
            count = sum(len(lane.rows) for lane in lanes)
            changed()
        if None in results:
            if lanes[0].machine.clock() > deadline:
                return "time was up"
            lanes[0].machine.wait(PAUSE)
    wrong = dict.fromkeys(result for result in results if result not in (None, "ok"))
    return "; ".join(map(str, wrong)) or "ok"
