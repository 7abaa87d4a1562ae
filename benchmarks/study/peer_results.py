"""The file of results of the study of peers."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..machine import describe
from .peer_training.contestants import CONTESTANTS, Contestant
from .runs import write_json


class PeerResults:
    """A file of results, which several threads add to. Its folder is made where it is missing."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()

    def read(self) -> dict[str, Any]:
        if not self.file.exists():
            return {"runs": [], "times": []}
        found: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return found

    def add_run(self, contestant: Contestant, seed: int, minutes: float, result: Mapping[str, Any]) -> None:
        """Puts a training in place of an earlier one of that seed, and of those of another length."""
        entry = {
            "contestant": contestant.name,
            "seed": seed,
            "minutes": minutes,
            "parameters": result["about"]["parameters"],
            "versions": result["about"]["versions"],
            "points": [_point(point) for point in result["points"]],
        }
        with self._lock:
            found = self.read()
            others = [
                run
                for run in found["runs"]
                if run["contestant"] != contestant.name or (run["seed"] != seed and run["minutes"] == minutes)
            ]
            runs = sorted([*others, entry], key=lambda run: (_place(run["contestant"]), run["seed"]))
            self._write({**found, "runs": runs})

    def add_times(self, contestant: Contestant, times: Mapping[str, Any]) -> None:
        entry = {"contestant": contestant.name, **times}
        with self._lock:
            found = self.read()
            others = [one for one in found["times"] if one["contestant"] != contestant.name]
            self._write({**found, "times": sorted([*others, entry], key=lambda one: _place(one["contestant"]))})

    def _write(self, content: Mapping[str, Any]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.file, {"machine": str(describe().processor), **content})


def _point(point: Mapping[str, Any]) -> dict[str, Any]:
    metrics = {name: None if value is None else round(100 * value, 2) for name, value in point["metrics"].items()}
    return {
        "minutes": round(point["seconds"] / 60, 3),
        "wall_minutes": round(point["wall_seconds"] / 60, 3),
        "steps": point["steps"],
        "images": point["images"],
        **metrics,
    }


def _place(name: str) -> int:
    return [contestant.name for contestant in CONTESTANTS].index(name)
