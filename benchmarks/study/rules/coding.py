"""Boxes to deltas and back, by center and size, and the two steps of the cascade.

    dx = (bx - ax) / aw / v0    dy = (by - ay) / ah / v1    dw = ln(bw / aw) / v2    dh = ln(bh / ah) / v3

The released code stops at an anchor or a box without area. Here such boxes are allowed, as an extension of the rule: a
side counts as at least 1e-12 where something is divided by it, a center moves by at most a million anchor sides, and
the logarithm of a side over the anchor's stays within -10 and 10.
"""

from __future__ import annotations

import math
from typing import Any

from .geometry import Box

LEAST_SIDE = 1e-12
MOST_SIDES = 1e6
MOST_LOG = 10.0


def run(given: dict[str, Any]) -> dict[str, Any]:
    variances = given["variances"]
    anchors = given["anchors"]
    if given["of"] == "encode":
        return {"deltas": [encode(box, a, variances) for box, a in zip(given["boxes"], anchors, strict=True)]}
    if given["of"] == "decode":
        boxes = [decode(deltas, a, variances) for deltas, a in zip(given["deltas"], anchors, strict=True)]
        if "clip_to" in given:
            width, height = given["clip_to"]
            boxes = [[min(max(v, 0.0), top) for v, top in zip(box, [width, height] * 2, strict=True)] for box in boxes]
        return {"boxes": boxes}
    images = []
    for b, (first, second) in enumerate(zip(given["arm_deltas"], given["odm_deltas"], strict=True)):
        rows = []
        for a, anchor in enumerate(anchors):
            box = decode(second[a], decode(first[a], anchor, variances), variances)
            rows.append(box if "kept" not in given or a in given["kept"][b] else [0.0] * 4)
        images.append(rows)
    return {"boxes": images}


def center_size(box: Box) -> tuple[float, float, float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]


def encode(box: Box, anchor: Box, variances: list[float]) -> list[float]:
    bx, by, bw, bh = center_size(box)
    ax, ay, aw, ah = center_size(anchor)
    bw, bh, aw, ah = (max(side, LEAST_SIDE) for side in (bw, bh, aw, ah))
    return [
        limited((bx - ax) / aw, MOST_SIDES) / variances[0],
        limited((by - ay) / ah, MOST_SIDES) / variances[1],
        limited(math.log(bw / aw), MOST_LOG) / variances[2],
        limited(math.log(bh / ah), MOST_LOG) / variances[3],
    ]


def decode(deltas: list[float], anchor: Box, variances: list[float]) -> list[float]:
    ax, ay, aw, ah = center_size(anchor)
    x = ax + limited(deltas[0] * variances[0], MOST_SIDES) * aw
    y = ay + limited(deltas[1] * variances[1], MOST_SIDES) * ah
    w = aw * math.exp(limited(deltas[2] * variances[2], MOST_LOG))
    h = ah * math.exp(limited(deltas[3] * variances[3], MOST_LOG))
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def limited(value: float, most: float) -> float:
    return min(max(value, -most), most)
