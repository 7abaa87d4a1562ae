"""Holding out images of a data set for validation, where it comes without a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .annotations import AnnotationTable


def stratified_holdout(table: AnnotationTable, fraction: float, seed: int, class_names: Sequence[str]) -> np.ndarray:
    """Which images to hold out, (M,) bool: about `fraction` of them with about that share of every class.

    After Sechidis et al. (2011): the class with the fewest images left goes first, and gives of them what validation
    still lacks of it. Images without objects count as a class of their own. The choice depends on the seed and the
    image ids alone, not on the order of the files. At least one image stays on each side.
    """
    count = len(table)
    if count < 2:
        raise ValueError(f"val_fraction: expected at least 2 images to split, got {count}")
    if not 0 < fraction < 1:
        raise ValueError(f"val_fraction: expected a number between 0 and 1, got {fraction}")
    rng = np.random.default_rng(seed)
    by_id = sorted(range(count), key=lambda index: str(table.image_ids[index]))
    order = [by_id[place] for place in rng.permutation(count)]
    names = ["", *class_names]  # the numbers of the labels must not matter
    rows = [table.labels[table.offsets[i] : table.offsets[i + 1]].tolist() for i in range(count)]
    classes = [{names[label] for label in labels} or {""} for labels in rows]
    left = Counter(name for found in classes for name in found)
    wanted = {name: fraction * images for name, images in left.items()}  # for validation
    held = np.zeros(count, bool)
    most = round(fraction * count)
    waiting = dict.fromkeys(order)
    while waiting:
        rarest = min((name for name in left if left[name]), key=lambda name: (left[name], name))
        lacking = min(round(max(0.0, wanted[rarest])), most - int(held.sum()))
        for place, index in enumerate([i for i in waiting if rarest in classes[i]]):
            held[index] = place < lacking
            del waiting[index]
            for name in classes[index]:
                left[name] -= 1
                wanted[name] -= held[index]
    if not held.any():
        held[order[0]] = True
    elif held.all():
        held[order[0]] = False
    return held
