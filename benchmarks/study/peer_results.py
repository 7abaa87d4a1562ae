"""The results of the study of peers: their file, a table, and two plots."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refinedet.analysis.style import legend_below, save
from refinedet.figures import clean, new_figure

from ..machine import describe
from ..table import markdown
from .peer_training.contestants import CONTESTANTS, Contestant
from .runs import METRICS, write_json
from .statistics import Estimate, mean_of

BFLOAT16 = "bfloat16"  # how the names of runtimes end that compute in it
COLORS = {
    "refinedetlite_lite0": "#0072b2",
    "refinedet_lite0": "#56b4e9",
    "refinedetlite_random": "#0072b2",
    "ssdlite_lite0": "#d55e00",
    "ssdlite_lite0_our_recipe": "#e69f00",
    "ssdlite_mobilenetv3": "#d55e00",
    "retinanet_lite0": "#cc79a7",
    "ssd300_vgg16": "#777777",
    "yolo26n": "#009e73",
}


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


def best_time(times: Mapping[str, Any], *, bfloat16: bool = False) -> tuple[str, float]:
    """The fastest runtime, and its milliseconds an image. bfloat16: of those that compute in it, else of the others.

    ValueError where none was measured.
    """
    measured = [
        (name, float(one["ms"])) for name, one in times.items() if "ms" in one and name.endswith(BFLOAT16) == bfloat16
    ]
    if not measured:
        raise ValueError(f"times: expected a runtime that was measured, got {sorted(times)}")
    return min(measured, key=lambda one: one[1])


class Standing:
    """What the table and the plots show of one contestant: its runs, of which there is at least one."""

    def __init__(self, contestant: Contestant, runs: Sequence[Mapping[str, Any]], times: Mapping[str, Any] | None):
        self.contestant, self.runs, self.times = contestant, list(runs), times

    def metric(self, name: str) -> Estimate | None:
        """At the end; None where there are no such objects."""
        values = [run["points"][-1][name] for run in self.runs]
        return None if None in values else mean_of(values)

    @property
    def images(self) -> float:
        """Seen, counted as often as they were."""
        return mean_of([run["points"][-1]["images"] for run in self.runs]).value

    def curve(self) -> tuple[list[float], list[Estimate]]:
        """Minutes and AP on the way."""
        together = list(zip(*(run["points"] for run in self.runs), strict=True))
        minutes = [mean_of([point["minutes"] for point in points]).value for points in together]
        return minutes, [mean_of([point["AP"] for point in points]) for points in together]


def standings(results: Mapping[str, Any]) -> list[Standing]:
    """Of the contestants that have run, the best AP first."""
    found = []
    for contestant in CONTESTANTS:
        runs = [run for run in results["runs"] if run["contestant"] == contestant.name]
        times = [one["times"] for one in results["times"] if one["contestant"] == contestant.name]
        if runs:
            found.append(Standing(contestant, runs, times[0] if times else None))
    return sorted(found, key=lambda one: -_ap(one).value)


def _ap(one: Standing) -> Estimate:
    found = one.metric("AP")
    assert found is not None  # BCCD's test part has objects
    return found


def table(results: Mapping[str, Any], train_images: int = 205) -> list[str]:
    """Lines of Markdown: a row for each contestant that has run; means over the seeds with 95% intervals."""
    rows = []
    for one in standings(results):
        c = one.contestant
        metrics = [one.metric(name) for name in METRICS]
        rows.append(
            [
                c.label,
                c.start,
                c.recipe,
                f"{one.images / train_images:.1f}",
                *("-" if metric is None else str(metric) for metric in metrics),
                _time(one, False),
                _time(one, True),
            ]
        )
    header = ["detector", "starts from", "recipe", "epochs", *METRICS, "ms an image", "in bfloat16"]
    return markdown(header, rows)


def _time(one: Standing, bfloat16: bool) -> str:
    if one.times is None:
        return "-"
    try:
        name, ms = best_time(one.times, bfloat16=bfloat16)
    except ValueError:  # its one runtime in bfloat16 was left out
        return "-"
    return f"{ms:.1f}" if bfloat16 else f"{ms:.1f} ({name})"


def draw_curves(results: Mapping[str, Any], path: Path) -> None:
    """AP over the minutes of training, with bands of 95% where there are several seeds."""
    figure = new_figure(8.5, 5.6)
    axes = figure.add_subplot()
    for one in standings(results):
        c = one.contestant
        minutes, curve = one.curve()
        values = [estimate.value for estimate in curve]
        style = "-" if c.start == "ImageNet" else "--"
        axes.plot(minutes, values, style, marker="o", markersize=3, color=COLORS[c.name], label=_label(c))
        if all(estimate.half is not None for estimate in curve):
            halves = [estimate.half or 0.0 for estimate in curve]
            low, high = ([v + sign * h for v, h in zip(values, halves, strict=True)] for sign in (-1, 1))
            axes.fill_between(minutes, low, high, color=COLORS[c.name], alpha=0.12, linewidth=0)
    clean(axes)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes of training on one core")
    axes.set_ylabel("AP on the 72 test photographs")
    legend_below(figure, axes, columns=2)
    save(figure, path)


def draw_times(results: Mapping[str, Any], path: Path) -> None:
    """AP over processor time an image, by the fastest runtime in float32. ValueError where nothing was timed."""
    timed = [one for one in standings(results) if one.times is not None]
    if not timed:
        raise ValueError("results: expected the times of a contestant that has run, there are none")
    figure = new_figure(8.5, 5.6)
    axes = figure.add_subplot()
    for one in timed:
        c, ap = one.contestant, _ap(one)
        assert one.times is not None
        _, ms = best_time(one.times)
        axes.errorbar(
            ms,
            ap.value,
            yerr=ap.half,
            fmt="o",
            markersize=7,
            color=COLORS[c.name],
            markerfacecolor=COLORS[c.name] if c.start == "ImageNet" else "white",
            capsize=3,
            linewidth=1.2,
            label=_label(c),
        )
    clean(axes)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("milliseconds of one core for an image, the fastest runtime in float32")
    axes.set_ylabel("AP on the 72 test photographs")
    legend_below(figure, axes, columns=2)
    save(figure, path)


def _label(contestant: Contestant) -> str:
    return f"{contestant.label} ({contestant.start})"
