"""Class weights from how often the classes occur (RefineDetLite, equation 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..checks import check_integer, check_range

if TYPE_CHECKING:
    from ..data.dataset import DetectionDataset


def class_weights_from_counts(counts: Sequence[int], *, largest: float = 10.0, gamma: float = 0.75) -> list[float]:
    """Weights from 1, of the most frequent class, to `largest`, of the rarest one.

        w_i = (largest - 1) (r_i^gamma - 1) / (r_max^gamma - 1) + 1,    r_i = (most boxes of a class) / (boxes of i)

    counts: boxes of each foreground class. largest: W of the paper, at least 1. gamma: above 0; a smaller one gives
    the classes in between more weight.

    Classes without a box get `largest` and do not count as the rarest; equally frequent classes get 1.

    >>> class_weights_from_counts([800, 50, 100], largest=4, gamma=0.5)
    [1.0, 4.0, 2.8284271247461903]
    """
    if not len(counts):
        raise ValueError("counts: expected one for each class, got none")
    for count in counts:
        check_integer(count, "counts", 0)
    check_class_weighting(largest, gamma)
    most = max(counts)
    powers = [(most / count) ** gamma for count in counts if count]
    span = max(powers, default=1.0) - 1
    if span <= 0:
        return [1.0 if count == most else float(largest) for count in counts]
    return [(largest - 1) / span * ((most / n) ** gamma - 1) + 1 if n else float(largest) for n in counts]


def count_labels(dataset: DetectionDataset) -> list[int]:
    """Boxes of each foreground class of a data set, without crowds; reads no image."""
    table = dataset.table
    labels = np.asarray(table.labels)[~np.asarray(table.crowd, dtype=bool)]
    counts = np.bincount(labels, minlength=len(dataset.class_names) + 1)[1:]
    return [int(count) for count in counts]


def check_class_weighting(largest: float, gamma: float) -> None:
    """ValueError for constants of equation 5 that have no meaning."""
    check_range(largest, "class_weight_largest", 1, 1e6)
    check_range(gamma, "class_weight_gamma", 1e-6, 100)  # 0 would divide by 0
