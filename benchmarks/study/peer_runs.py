"""Trainings of the study of peers: in processes of one thread, each in the Python that has its library."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refinedet.data import VOCDetection, to_coco_dict
from refinedet.evaluation import Evaluator
from refinedet.pretrained import LITE0, weights_file

from .peer_training.contestants import Contestant
from .peer_training.task import HISTORY, Task
from .peer_training.timing import SPEED
from .processes import Processes, last_line
from .runs import METRICS, ROOT, write_json

CLASSES = ["Platelets", "RBC", "WBC"]  # of BCCD
RESULT, TASK, LOG = "result.json", "task.json", "log.txt"


class Failed(Exception):
    """A process of a contestant ended with an error; the message has its last line."""


@dataclass(frozen=True)
class Plan:
    """A training that is asked for."""

    contestant: Contestant
    seed: int
    minutes: float

    @property
    def place(self) -> str:
        """Its folder below that of the study."""
        return f"{self.contestant.name}/seed{self.seed}"


class Peers:
    """The study in a folder.

    data: BCCD, in VOC layout. pythons: by the module of `peer_training` that they run.
    """

    def __init__(self, data: Path, folder: Path, pythons: Mapping[str, str]) -> None:
        self.folder, self.pythons = folder.resolve(), dict(pythons)
        self.images = (data / "JPEGImages").resolve()
        self.parts = write_parts(data, self.folder / "data")
        self.digest = hashlib.sha256(b"".join(file.read_bytes() for file in self.parts.values())).hexdigest()[:16]
        self.processes = Processes()

    def settings(self, plan: Plan) -> dict[str, Any]:
        """What a result must have been made with to stand for the plan."""
        c = plan.contestant
        return {
            "minutes": plan.minutes,
            "data": self.digest,
            "start": c.start,
            "recipe": c.recipe,
            "options": c.options,
            "points": c.points,
        }

    def known(self, plan: Plan) -> dict[str, Any] | None:
        """What an earlier call found with these settings."""
        file = self.folder / plan.place / RESULT
        if not file.exists():
            return None
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return found if found["settings"] == json.loads(json.dumps(self.settings(plan))) else None

    def train(self, plan: Plan) -> dict[str, Any]:
        """Trains from the beginning and measures; a result that was there is gone. Failed if the process fails."""
        place = self.folder / plan.place
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        self._task(plan).write(place / TASK)
        self._run(plan, "train")
        history = json.loads((place / HISTORY).read_text(encoding="utf-8"))
        points = []
        for point in history["points"]:
            evaluator = Evaluator(self.parts["test"])
            evaluator.load_results(place / point.pop("detections"))
            metrics = evaluator.compute("coco")
            points.append({**point, "metrics": {name: metrics[name] for name in METRICS}})
        result = {"settings": self.settings(plan), "points": points, "about": history["about"]}
        write_json(place / RESULT, result)
        return result

    def known_speed(self, plan: Plan) -> dict[str, Any] | None:
        """The times of the plan's network, where they have been measured."""
        file = self.folder / plan.place / SPEED
        if self.known(plan) is None or not file.exists():
            return None
        times: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return times

    def time(self, plan: Plan) -> dict[str, Any]:
        """Times the plan's trained network in every runtime. Failed if the process fails."""
        self._run(plan, "time")
        times = self.known_speed(plan)
        assert times is not None, plan.place  # the process ended well
        return times

    def _task(self, plan: Plan) -> Task:
        contestant = plan.contestant
        return Task(
            contestant=contestant.name,
            seed=plan.seed,
            seconds=60 * plan.minutes,
            points=contestant.points,
            images=str(self.images),
            **{part: str(file) for part, file in self.parts.items()},
            folder=str(self.folder / plan.place),
            weights=_weights(contestant),
            options=contestant.options,
        )

    def _run(self, plan: Plan, what: str) -> None:
        module, place = plan.contestant.module, self.folder / plan.place
        command = [self.pythons[module], "-m", f"{__package__}.peer_training.{module}", what, str(place / TASK)]
        if self.processes.run(command, place / LOG, _environment(module, self.folder), ROOT) != 0:
            raise Failed(last_line(place / LOG))


def write_parts(data: Path, folder: Path) -> dict[str, Path]:
    """BCCD's parts as COCO files, from which everybody trains and is measured."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for part in ("train", "val", "test"):
        dataset = VOCDetection(data, part, classes=CLASSES, use_difficult=True, quiet=True)
        files[part] = folder / f"{part}.json"
        write_json(files[part], to_coco_dict(dataset))
    return files


def _weights(contestant: Contestant) -> str | None:
    if contestant.start != "ImageNet":
        return None
    return LITE0 if contestant.module == "ours" else str(weights_file(LITE0))


def _environment(module: str, folder: Path) -> dict[str, str]:
    """One thread. The other Pythons find this repository's benchmarks, and not its package."""
    paths = [ROOT, ROOT / "python"] if module == "ours" else [ROOT]
    given = os.environ.get("PYTHONPATH", "") if module == "ours" else ""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [*map(str, paths), given])),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "passive",
        # ultralytics asks the network for nothing, installs nothing, and leaves the user's settings alone
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_CONFIG_DIR": str(folder),
    }
