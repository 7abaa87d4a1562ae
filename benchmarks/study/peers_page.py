"""The tables and plots of the study of peers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refinedet.analysis.style import legend_below, save
from refinedet.figures import clean, new_figure

from ..table import markdown
from .peer_training.contestants import CONTESTANTS, Contestant
from .runs import METRICS
from .statistics import Estimate, mean_of

IMAGES = 205  # of an epoch
BFLOAT16 = "bfloat16"  # how the names of runtimes end that compute in it
TICKS = [step * 10**power for power in range(-1, 4) for step in (1, 2, 5)]  # milliseconds
COLORS = {
    "refinedetlite_lite0": "#0072b2",
    "refinedet_lite0": "#56b4e9",
    "refinedetlite_random": "#0072b2",
    "refinedet_small": "#000000",
    "ssdlite_lite0": "#d55e00",
    "ssdlite_lite0_our_recipe": "#e69f00",
    "ssdlite_mobilenetv3": "#d55e00",
    "retinanet_lite0": "#cc79a7",
    "ssd300_vgg16": "#777777",
    "yolo26n": "#009e73",
}


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

    def curves(self) -> tuple[list[float], np.ndarray]:
        """Minutes on the way, those of the first run; and AP then (runs, minutes), between the points of the others."""
        minutes, *_ = ([point["minutes"] for point in run["points"]] for run in self.runs)
        curves = [
            np.interp(minutes, [point["minutes"] for point in run["points"]], [point["AP"] for point in run["points"]])
            for run in self.runs
        ]
        return minutes, np.stack(curves)


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


def table(results: Mapping[str, Any]) -> list[str]:
    """A row for each contestant: means over the seeds with 95% intervals."""
    ran = standings(results)
    rows = []
    for one in ran:
        metrics = [one.metric(name) for name in METRICS]
        cells = ["" if metric is None else str(metric) for metric in metrics]
        times = ["", ""] if one.times is None else [_fastest(one.times, bfloat16) for bfloat16 in (False, True)]
        rows.append([one.contestant.label, one.contestant.start, f"{one.images / IMAGES:.1f}", *cells, *times])
    rows += [
        [c.label, c.start, "not run", *[""] * (len(METRICS) + 2)]
        for c in CONTESTANTS
        if c not in [one.contestant for one in ran]
    ]
    head = ["detector", "starts from", "epochs", *METRICS, "ms an image", "in bfloat16"]
    return markdown(head, rows)


def _fastest(times: Mapping[str, Any], bfloat16: bool) -> str:
    try:
        name, ms = best_time(times, bfloat16=bfloat16)
    except ValueError:  # its one runtime in bfloat16 was left out
        return "left out"
    return f"{ms:.1f}" if bfloat16 else f"{ms:.1f} ({name})"


def time_table(results: Mapping[str, Any]) -> list[str]:
    """Milliseconds of every runtime, the fastest contestant first."""
    ran = [one for one in standings(results) if one.times is not None]
    names = list(dict.fromkeys(name for one in ran for name in one.times or ()))
    rows = []
    for one in sorted(ran, key=lambda one: best_time(one.times or {})[1]):
        found = [(one.times or {}).get(name, {}) for name in names]
        rows.append([one.contestant.label, one.contestant.start, *(_cell(time) for time in found)])
    return markdown(["detector", "starts from", *names], rows)


def _cell(time: Mapping[str, Any]) -> str:
    return f"{time['ms']:.1f}" if "ms" in time else "left out" if time else ""


def recipe_table(results: Mapping[str, Any]) -> list[str]:
    """How everybody was trained, and in which versions."""
    versions = {run["contestant"]: run["versions"] for run in results["runs"]}
    parameters = {run["contestant"]: run["parameters"] for run in results["runs"]}
    rows = [
        [
            c.label,
            c.start,
            c.recipe,
            f"{parameters[c.name] / 1e6:.1f}" if c.name in parameters else "",
            ", ".join(f"{name} {version}" for name, version in versions.get(c.name, {}).items()),
        ]
        for c in CONTESTANTS
    ]
    return markdown(["detector", "starts from", "recipe", "million weights", "trained with"], rows)


def pictures(results: Mapping[str, Any]) -> list[str]:
    """The plots, once there is something on them."""
    lines = []
    if results["runs"]:
        lines += ["![AP over the minutes of training](peers.png)", ""]
    if results["times"]:
        lines += ["![AP over the milliseconds of an image](peers_times.png)"]
    return lines or ["Not run yet."]


def blocks(results: Mapping[str, Any]) -> dict[str, Callable[[], Sequence[str]]]:
    """What makes the lines of the blocks of the page."""
    return {
        "peers": lambda: table(results),
        "peers_times": lambda: time_table(results),
        "peers_recipes": lambda: recipe_table(results),
        "peers_pictures": lambda: pictures(results),
    }


def draw(results: Mapping[str, Any], folder: Path) -> None:
    """The plots, as far as there is something on them."""
    if results["runs"]:
        draw_curves(results, folder / "peers.png")
    if results["times"]:
        draw_times(results, folder / "peers_times.png")


def draw_curves(results: Mapping[str, Any], path: Path) -> None:
    """AP over the minutes of training: means, and bands from the worst seed to the best."""
    figure = new_figure(8.5, 5.6)
    axes = figure.add_subplot()
    for one in standings(results):
        c = one.contestant
        minutes, curves = one.curves()
        style = "-" if c.start == "ImageNet" else "--"
        axes.plot(minutes, curves.mean(0), style, marker="o", markersize=3, color=COLORS[c.name], label=_label(c))
        axes.fill_between(minutes, curves.min(0), curves.max(0), color=COLORS[c.name], alpha=0.15, linewidth=0)
    clean(axes)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes of training on one core")
    axes.set_ylabel("AP on the 72 test photographs")
    legend_below(figure, axes, columns=2)
    save(figure, path)


def draw_times(results: Mapping[str, Any], path: Path) -> None:
    """AP over processor time an image, by the fastest runtime in float32: mean, and from the worst seed to the best."""
    figure = new_figure(8.5, 5.6)
    axes = figure.add_subplot()
    least, most = math.inf, 0.0
    for one in standings(results):
        c, found = one.contestant, [run["points"][-1]["AP"] for run in one.runs]
        if one.times is None:
            continue
        (_, ms), mean = best_time(one.times), _ap(one).value
        least, most = min(least, ms), max(most, ms)
        axes.errorbar(
            ms,
            mean,
            yerr=[[mean - min(found)], [max(found) - mean]],
            fmt="o",
            markersize=7,
            color=COLORS[c.name],
            markerfacecolor=COLORS[c.name] if c.start == "ImageNet" else "white",
            capsize=3,
            linewidth=1.2,
            label=_label(c),
        )
    clean(axes)
    axes.set_xscale("log")
    axes.set_xlim(least / 1.3, most * 1.3)
    axes.set_xticks([tick for tick in TICKS if least / 1.3 <= tick <= most * 1.3])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("milliseconds of one core for an image, the fastest runtime in float32")
    axes.set_ylabel("AP on the 72 test photographs")
    legend_below(figure, axes, columns=2)
    save(figure, path)


def _label(contestant: Contestant) -> str:
    return f"{contestant.label} ({contestant.start})"
