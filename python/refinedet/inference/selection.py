"""Which detections are wanted: by class, and from which score on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..checks import check_range

DEFAULT_SCORE_THRESHOLD = 0.5

ScoreThreshold = float | Mapping[str, float]


def lowest_scores(
    class_names: Sequence[str], score_threshold: ScoreThreshold, classes: str | Sequence[str] | None
) -> np.ndarray:
    """(C,) float64: for each class the score from which on its detections are wanted; infinite for unwanted ones.

    score_threshold: one for all classes, or some by name, where the others have the default of 0.5. classes: the
    wanted ones; None is all. ValueError for names that are not among class_names, and thresholds out of 0 to 1.
    """
    lowest = np.full(len(class_names), DEFAULT_SCORE_THRESHOLD)
    if isinstance(score_threshold, Mapping):
        for name, value in score_threshold.items():
            _check_known(name, "score_threshold", class_names)
            lowest[_rows(class_names, name)] = check_range(value, f"score_threshold[{name!r}]", 0, 1)
    else:
        lowest[:] = check_range(score_threshold, "score_threshold", 0, 1)
    if classes is None:
        return lowest
    wanted = [classes] if isinstance(classes, str) else list(classes)
    if not wanted:
        raise ValueError(f"classes: expected at least one of {', '.join(class_names)}, got none")
    for name in wanted:
        _check_known(name, "classes", class_names)
    if isinstance(score_threshold, Mapping):
        for name in score_threshold:
            if name not in wanted:
                raise ValueError(f"score_threshold: expected wanted classes, got {name!r}, which classes leaves out")
    unwanted = [name not in wanted for name in class_names]
    lowest[unwanted] = np.inf
    return lowest


def _check_known(name: str, argument: str, class_names: Sequence[str]) -> None:
    if name not in class_names:
        raise ValueError(f"{argument}: the model has no class {name!r}, but {', '.join(class_names)}")


def _rows(class_names: Sequence[str], name: str) -> list[int]:
    return [row for row, other in enumerate(class_names) if other == name]
