"""What one of several processes found, on disk until the first process puts the parts together."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..prediction import Prediction


class PartFile:
    """A line of JSON for every prediction, and for every source that could not be read.

    Each is on disk when it has been added, so that it is not lost with the process. order: the paths of all sources,
    also of those that other processes have.
    """

    def __init__(self, path: Path, order: Sequence[str]) -> None:
        self._position = {source: position for position, source in enumerate(order)}
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115  # open until `close`

    def add(self, prediction: Prediction) -> None:
        self._write(self._position[str(prediction.path)], found=prediction.to_dict())

    def add_failure(self, path: str, error: Exception) -> None:
        self._write(self._position[path], path=path, error=str(error))

    def close(self, complete: bool) -> None:
        self._file.close()

    def _write(self, position: int, **entry: Any) -> None:
        self._file.write(json.dumps({"position": position, **entry}) + "\n")
        self._file.flush()


def read_predictions(parts: Sequence[Path]) -> Iterator[Prediction]:
    """The predictions of all parts in the order of their sources, in memory that does not grow with their number."""
    streams = [((entry["position"], entry["found"]) for entry in _entries(part) if "found" in entry) for part in parts]
    for _, found in heapq.merge(*streams, key=lambda pair: pair[0]):  # of a part they are in order already
        yield _prediction(found)


def read_failures(parts: Sequence[Path]) -> list[tuple[str, str]]:
    """Path and error of every source that could not be read, in their order."""
    failures = [entry for part in parts for entry in _entries(part) if "error" in entry]
    return [(entry["path"], entry["error"]) for entry in sorted(failures, key=lambda entry: entry["position"])]


def _entries(part: Path) -> Iterator[dict[str, Any]]:
    if not part.exists():  # of a process that ended before it began
        return
    with open(part, encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):  # else its process was killed as it wrote
                yield json.loads(line)


def _prediction(found: dict[str, Any]) -> Prediction:
    detections = found["detections"]
    return Prediction(
        boxes=np.array([one["box"] for one in detections], np.float32).reshape(-1, 4),
        scores=np.array([one["score"] for one in detections], np.float32),
        labels=np.array([one["label"] for one in detections], np.int64),
        names=[one["name"] for one in detections],
        size=(found["width"], found["height"]),
        path=found["path"],
        frame=found.get("frame"),
        time=found.get("time"),
    )
