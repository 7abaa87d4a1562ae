"""Trainings of a study: which there are, which are done, and the rest in processes of one thread each."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from refinedet import model_entry

from .processes import Processes, last_line

ROOT = Path(__file__).parents[2]
LOG = "log.txt"
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True)
class Run:
    """A training with one seed.

    data, row: what it belongs to in the tables. config: as in the YAML files of `refinedet train`, with
    train.seed. suppressions: NMS presets under which the same weights are measured besides.
    """

    data: str
    row: str
    seed: int
    config: Mapping[str, Any] = field(hash=False)
    suppressions: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Its folder below that of the study."""
        return f"{self.data}/{self.row}/seed{self.seed}"

    def as_json(self) -> dict[str, Any]:
        """All that a result depends on but the code, as JSON has it: the model's defaults, too."""
        defaults = dataclasses.asdict(model_entry(self.config["model"]["name"]).config)
        content = {"config": dict(self.config), "defaults": defaults, "suppressions": list(self.suppressions)}
        made: dict[str, Any] = json.loads(json.dumps(content))
        return made


def write_json(path: Path, value: Any) -> None:
    """All of it, or nothing where the process ends meanwhile."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def same_training(known: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether two runs, as JSON, train the same. A default that a version did not have yet stood where it does now."""
    others = ("config", "suppressions")
    return all(known[name] == wanted[name] for name in others) and _agree(known["defaults"], wanted["defaults"])


def _agree(known: Any, wanted: Any) -> bool:
    if isinstance(known, dict) and isinstance(wanted, dict):
        return all(name in wanted and _agree(value, wanted[name]) for name, value in known.items())
    return bool(known == wanted)


def known_result(run: Run, folder: Path) -> dict[str, Any] | None:
    """What an earlier call found, if it trained the same."""
    file = folder / run.place / "result.json"
    if not file.exists():
        return None
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found if same_training(found["run"], run.as_json()) else None


def perform(
    runs: Sequence[Run],
    folder: Path,
    *,
    jobs: int,
    minutes: float | None,
    done: Callable[[Run, dict[str, Any]], None],
) -> list[Run]:
    """Trains what has no result yet, `jobs` at a time, in the order given; `done` hears of each as it ends.

    Returns those that failed, whose log.txt says why. After `minutes` no more is begun. SIGINT and SIGTERM end what
    runs, each with a checkpoint from which the next call goes on, and raise KeyboardInterrupt.
    """
    end = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    processes, lock = Processes(), threading.Lock()
    failed: list[Run] = []

    def train(run: Run) -> None:
        begun, place = time.monotonic(), folder / run.place
        if begun > end:
            return
        _prepare(run, place)
        command = [sys.executable, "-m", "benchmarks.study.worker", str(place.resolve())]
        status = processes.run(command, place / LOG, _environment(), ROOT)
        result = known_result(run, folder) if status == 0 else None
        with lock:
            outcome = (
                f"FAILED: {last_line(place / LOG)}" if result is None else f"AP {100 * result['metrics']['']['AP']:.1f}"
            )
            print(f"{time.monotonic() - begun:6.0f} s  {run.place}  {outcome}", flush=True)
            # weights and checkpoints, 60 MB: what failed begins anew
            shutil.rmtree(place / "run", ignore_errors=result is None)
            if result is None:
                failed.append(run)
            else:
                done(run, result)

    processes.in_parallel([run for run in runs if known_result(run, folder) is None], jobs, train)
    return failed


def _environment() -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "python"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
    }


def _prepare(run: Run, place: Path) -> None:
    """A folder for the run, in which an interrupted one of the same configuration goes on."""
    file, wanted = place / "run.json", run.as_json()
    same = file.exists() and same_training(json.loads(file.read_text(encoding="utf-8")), wanted)
    if not same or not (place / "run/checkpoints/last.ckpt").exists():
        shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    write_json(file, wanted)
