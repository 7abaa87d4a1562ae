"""What the detections of a class are, the best first: RefineDet's figure 6, after Hoiem et al.

D. Hoiem, Y. Chodpathumwan, Q. Dai, "Diagnosing error in object detectors", ECCV 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .groups import Groups
from .matching import STRONG, WEAK, Matching, Scene, match
from .style import CORRECT, KIND_COLORS, RECALL_COLOR, grid_of_panels, legend_below, plain, save

KINDS = ("correct", "localisation", "similar", "other", "background")
MULTIPLES = np.geomspace(1 / 8, 8, 49)
"""Lengths of the list of detections, in objects of the class."""
LENGTHS = 40
"""Lengths of the list of false positives that are looked at."""


@dataclass(frozen=True)
class GroupTrend:
    """One group of classes. multiples (M,): lengths of the lists of detections, in objects of each class.

    shares (5, M): of the kinds in `KINDS`, the mean over the classes; recall, weak_recall (M,): the share of the
    objects that are found so far, at an overlap of 0.5 and of 0.1, the mean over the classes. A class whose detections
    end earlier counts with all that it has; beyond the last of the multiples no class has more.

    lengths (L,) int64 and mix (4, L): of the group's best false positives, so many, the shares of the four wrong kinds.
    counts (5,) int64: detections of each kind among the best of every class, as many as it has objects.
    """

    multiples: np.ndarray
    shares: np.ndarray
    recall: np.ndarray
    weak_recall: np.ndarray
    lengths: np.ndarray
    mix: np.ndarray
    counts: np.ndarray


def kinds_of_detections(scene: Scene, matching: Matching, groups: Groups) -> np.ndarray:
    """(D,) int64, positions in `KINDS`; -1 for detections that count neither way.

    Correct ones find an object at an overlap of 0.5. Of the others those are badly localised that overlap an object of
    their class by 0.1 (a second detection of an object among them), then come confusions with similar and with other
    classes, at 0.1 as well, and the background is left. Difficult objects are objects here; crowds are not.
    """
    same = scene.same_class
    near = (scene.pair_iou >= WEAK) & ~scene.truth.crowd[scene.pair_object]
    alike = groups.similar[scene.labels[scene.pair_detection], scene.truth.labels[scene.pair_object]]
    kinds = np.full(len(scene), KINDS.index("background"))
    for kind, pairs in (("other", ~same & ~alike), ("similar", alike), ("localisation", same)):
        kinds[scene.pair_detection[near & pairs]] = KINDS.index(kind)
    kinds[matching.correct] = KINDS.index("correct")
    kinds[matching.neutral] = -1
    return kinds


def false_positive_trends(scene: Scene, groups: Groups) -> dict[str, GroupTrend]:
    """The trend of every group that has a class with objects to find, by name."""
    strong, weak = match(scene, STRONG), match(scene, WEAK)
    kinds = kinds_of_detections(scene, strong, groups)
    trends = {}
    for group, labels in groups.members.items():
        measured = [label for label in labels if scene.objects_per_class[label]]
        if measured:
            trends[group] = _trend(scene, measured, kinds, strong, weak)
    return trends


def _trend(scene: Scene, labels: Sequence[int], kinds: np.ndarray, strong: Matching, weak: Matching) -> GroupTrend:
    objects_of = scene.objects_per_class
    lists = {label: np.flatnonzero((scene.labels == label) & (kinds >= 0)) for label in labels}
    longest = max(len(rows) / objects_of[label] for label, rows in lists.items())
    # one length more than there are detections, so that the end of the list is seen
    multiples = MULTIPLES[: max(2, int(np.searchsorted(MULTIPLES, longest)) + 1)]
    shares = np.zeros((len(KINDS), len(multiples)))
    recalls = np.zeros((2, len(multiples)))
    counts = np.zeros(len(KINDS), np.int64)
    listing = 0
    for label, rows in lists.items():
        lengths = np.clip(np.round(multiples * objects_of[label]), 1, None).astype(np.int64)
        ends = np.minimum(lengths, len(rows)) - 1
        for row, matching in enumerate((strong, weak)):
            found = np.cumsum(np.isin(rows, matching.found_by))
            if len(rows):
                recalls[row] += found[ends] / objects_of[label]
        if not len(rows):
            continue
        listing += 1
        so_far = np.cumsum(np.eye(len(KINDS), dtype=np.int64)[kinds[rows]], axis=0)
        shares += (so_far[ends] / (ends + 1)[:, None]).T
        counts += so_far[min(int(objects_of[label]), len(rows)) - 1]
    wrong = np.flatnonzero(np.isin(scene.labels, labels) & (kinds > 0))
    lengths, mix = _mix(kinds[wrong])
    recalls /= len(labels)
    return GroupTrend(multiples, shares / max(1, listing), recalls[0], recalls[1], lengths, mix, counts)


def _mix(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lengths (L,) at which a list of false positives (N,) is looked at, and the shares of the wrong kinds."""
    if not len(kinds):
        return np.zeros(0, np.int64), np.zeros((len(KINDS) - 1, 0))
    first = 25 if len(kinds) >= 100 else 1  # of a long list, the shares of the first few say little
    lengths = np.unique(np.round(np.geomspace(first, len(kinds), LENGTHS)).astype(np.int64))
    so_far = np.cumsum(np.eye(len(KINDS), dtype=np.int64)[kinds], axis=0)[:, 1:]
    return lengths, (so_far[lengths - 1] / lengths[:, None]).T


def as_json(trends: dict[str, GroupTrend]) -> dict[str, Any]:
    """Plain values: by group, the shares by kind and the recalls over the multiples, and the rest of `GroupTrend`."""
    return {
        group: {
            "multiples": trend.multiples.round(4).tolist(),
            "shares": dict(zip(KINDS, trend.shares.round(6).tolist(), strict=True)),
            "recall": trend.recall.round(6).tolist(),
            "weak_recall": trend.weak_recall.round(6).tolist(),
            "false_positives": trend.lengths.tolist(),
            "mix": dict(zip(KINDS[1:], trend.mix.round(6).tolist(), strict=True)),
            "best_detections": dict(zip(KINDS, trend.counts.tolist(), strict=True)),
        }
        for group, trend in trends.items()
    }


def plot_false_positives(trends: dict[str, GroupTrend], path: str | Path) -> None:
    """Draws each group's detections and, below, its false positives."""
    from matplotlib.ticker import MaxNLocator

    if not trends:
        figure, panels = grid_of_panels(1, width=6.4, height=2.7, most_columns=1)
        panels[0][0].text(0.5, 0.5, "no objects", ha="center", va="center")
        save(figure, path)
        return
    figure, panels = grid_of_panels(len(trends), rows=2, width=3.4, height=2.7, most_columns=4)
    colors = [CORRECT, *(KIND_COLORS[kind] for kind in KINDS[1:])]
    for (group, trend), (upper, lower) in zip(trends.items(), panels, strict=True):
        x = trend.multiples
        upper.stackplot(x, 100 * trend.shares, colors=colors, labels=KINDS, linewidth=0)
        upper.plot(x, 100 * trend.recall, color=RECALL_COLOR, linewidth=2, label=f"recall at overlap {STRONG}")
        weak = f"recall at overlap {WEAK}"
        upper.plot(x, 100 * trend.weak_recall, color=RECALL_COLOR, linewidth=2, linestyle="--", label=weak)
        upper.set_xscale("log", base=2)
        upper.xaxis.set_major_formatter(lambda value, _: f"{value:g}" if value >= 1 else f"1/{1 / value:g}")
        upper.set(xlim=(x[0], x[-1]), ylim=(0, 100), xlabel="detections per object", ylabel="% of the detections")
        upper.set_title(plain(group), loc="left")
        lower.set(ylim=(0, 100), xlabel="best false positives", ylabel="% of the false positives")
        if not len(trend.lengths):
            lower.set(xticks=[])
            lower.text(0.5, 0.5, "no false positives", transform=lower.transAxes, ha="center", va="center")
            continue
        x, mix = trend.lengths, trend.mix
        if len(x) == 1:  # an area needs two ends
            x, mix = np.array([0, x[0]]), np.repeat(mix, 2, axis=1)
        lower.stackplot(x, 100 * mix, colors=colors[1:], linewidth=0)
        lower.set(xlim=(x[0], x[-1]))
        if x[-1] >= 100:
            lower.set_xscale("log")
            lower.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            lower.xaxis.set_minor_formatter(lambda value, _: "")
        else:
            lower.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    legend_below(figure, panels[0][0])
    save(figure, path)
