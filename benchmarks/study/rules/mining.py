"""Hard negative mining: of the candidates of an image those with the largest loss, floor(ratio x positives) of them, at
least min_negatives, at most all. Ties: the lower anchor.

"all" in place of the ratio (PADet's second stage) takes every candidate, of images without a positive as well, unless
the whole batch has no positive: there it takes none. A batch without a positive may have a quota of its own for each
image (empty_batch_negatives; EFGRNet has 45).
"""

from __future__ import annotations

import math
from typing import Any


def run(given: dict[str, Any]) -> dict[str, Any]:
    labels = given["labels"]
    eligible = given.get("eligible", [[True] * len(row) for row in labels])
    candidates = [
        [v == 0 and e for v, e in zip(row, may, strict=True)] for row, may in zip(labels, eligible, strict=True)
    ]
    positives = [sum(label > 0 for label in row) for row in labels]
    chosen = mine(given["loss"], positives, candidates, given)
    return {"chosen": chosen, "count": [sum(row) for row in chosen]}


def mine(
    loss: list[list[float]], positives: list[int], candidates: list[list[bool]], rules: dict[str, Any]
) -> list[list[bool]]:
    """Of each image (rows) which anchors are mined."""
    chosen = []
    for values, objects, may in zip(loss, positives, candidates, strict=True):
        rows = [a for a, candidate in enumerate(may) if candidate]
        if rules["ratio"] == "all":
            quota = len(rows) if sum(positives) else 0
        else:
            quota = math.floor(rules["ratio"] * objects)
        quota = max(quota, rules.get("min_negatives", 0))
        if not sum(positives):
            quota = max(quota, rules.get("empty_batch_negatives", 0))
        rows.sort(key=lambda a: (-values[a], a))
        chosen.append([a in rows[:quota] for a in range(len(values))])
    return chosen
