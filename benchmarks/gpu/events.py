"""What a process that runs rows tells the one that watches it: lines of JSON in a file, each written when it is so.

Three kinds: {"plan": [keys]} at first, {"began": key}, {"row": {"key": ..., ...}}. What ends the process costs the row
that it is at.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

EVENTS = "REFINEDET_GPU_EVENTS"  # environment variables: the file, and one with the keys of rows that are there already
DONE = "REFINEDET_GPU_DONE"
SHARD = "REFINEDET_GPU_SHARD"  # of tests: "i/n", every n-th from the i-th on

DEAD = 70  # the exit code of a process whose GPU gives nothing but errors any more


class EventLog:
    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def from_environment() -> EventLog:
        return EventLog(Path(os.environ[EVENTS]))

    def write(self, event: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(event) + "\n")


def done_before() -> set[str]:
    path = os.environ.get(DONE)
    return set(json.loads(Path(path).read_text())) if path else set()


class EventReader:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._position = 0

    def new(self) -> list[dict[str, Any]]:
        """Those written since the last time; of a line that is not finished nothing."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self._position)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
