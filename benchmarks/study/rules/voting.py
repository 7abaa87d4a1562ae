"""Multi-scale testing (RefineDet's test scripts): passes over the image in several sizes, merged by voting.

Voting, per class: the best box gathers all that overlap it by at least 0.45, sides counted with one pixel more; their
mean, weighted with the scores, takes their place with the best score; a box that gathers none stays as it is; and so on
with the rest. The soft kind (COCO) keeps each that was gathered beside the mean, with its score times 1 - IoU, where
that is at least min_score. Results by falling score.

A pass is a size of the input, its long side along the image's longer one (a square image has its long side upright),
and a filter on the boxes in pixels of the image: "below" on the shorter, "above" on the longer side, one pixel more
again.
"""

from __future__ import annotations

from typing import Any

from .geometry import iou

VOTE_IOU = 0.45

# Factors of the input's side, the short side's where it is another, and the filter; the last list is for COCO.
SCALES: dict[int, tuple[list[tuple[float, float, int | None, int | None]], ...]] = {
    320: (
        [
            (1.0, 1.0, None, None),
            (1.0, 0.6, None, None),
            (0.6, 0.6, None, 32),
            (1.2, 1.2, 160, None),
            (1.4, 1.4, 128, None),
            (1.6, 1.6, 96, None),
            (1.8, 1.8, 64, None),
            (2.2, 2.2, 32, None),
        ],
        [(2.0, 2.0, 48, None)],
    ),
    512: (
        [
            (1.0, 1.0, None, None),
            (1.0, 0.75, None, None),
            (0.5, 0.5, None, None),
            (0.75, 0.75, None, None),
            (1.5, 1.5, 192, None),
            (1.75, 1.75, 128, None),
        ],
        [(1.25, 1.25, 224, None), (2.0, 2.0, 96, None), (2.25, 2.25, 64, None)],
    ),
}


def run(given: dict[str, Any]) -> dict[str, Any]:
    if given["of"] == "recipe":
        return recipe(given["side"], given["coco"])
    if given["of"] == "pass":
        return {"size": size(given), "keeps": [keeps(box, given["below"], given["above"]) for box in given["boxes"]]}
    if given["of"] == "merge":
        return merge(given)
    voted = vote(list(zip(given["boxes"], given["scores"], strict=True)), given.get("min_score"))
    return {"boxes": [box for box, _ in voted], "scores": [score for _, score in voted]}


def recipe(side: int, coco: bool) -> dict[str, Any]:
    usual, more = SCALES[side]
    passes = [
        [round(side * long), round(side * short), below, above]
        for long, short, below, above in usual + (more if coco else [])
    ]
    return {"passes": passes, "voting": "soft" if coco else "box"}


def size(given: dict[str, Any]) -> list[int]:
    """Width and height of the input."""
    upright = given["width"] <= given["height"]
    return [given["short"], given["long"]] if upright else [given["long"], given["short"]]


def keeps(box: list[float], below: float | None, above: float | None) -> bool:
    sides = (box[2] - box[0] + 1, box[3] - box[1] + 1)
    return (below is None or min(sides) < below) and (above is None or max(sides) > above)


def merge(given: dict[str, Any]) -> dict[str, Any]:
    """All passes' detections together, voted class by class, the best `keep` of the image."""
    rows = []
    for label in sorted({label for found in given["passes"] for label in found["labels"]}):
        own = []
        for found in given["passes"]:
            for box, score, other in zip(found["boxes"], found["scores"], found["labels"], strict=True):
                if other == label:
                    own.append((box, score))
        rows += [(score, label, box) for box, score in vote(own, given.get("min_score"))]
    rows.sort(key=lambda row: -row[0])
    rows = rows[: given["keep"]]
    return {"boxes": [row[2] for row in rows], "scores": [row[0] for row in rows], "labels": [row[1] for row in rows]}


def vote(rows: list[tuple[list[float], float]], min_score: float | None) -> list[tuple[list[float], float]]:
    """min_score: None is box voting, a number is the soft kind's."""
    rows = sorted(rows, key=lambda row: -row[1])
    voted: list[tuple[list[float], float]] = []
    while rows:
        top = rows[0][0]
        members = [row for row in rows if row is rows[0] or iou(top, row[0], pixel=1.0) >= VOTE_IOU]
        rows = [row for row in rows if all(row is not member for member in members)]
        if len(members) == 1:
            voted.append(members[0])
            continue
        weight = sum(score for _, score in members)
        mean = [sum(box[k] * score for box, score in members) / weight for k in range(4)]
        voted.append((mean, members[0][1]))
        if min_score is not None:
            softened = [(box, score * (1 - iou(top, box, pixel=1.0))) for box, score in members]
            voted += [(box, score) for box, score in softened if score >= min_score]
    return sorted(voted, key=lambda row: -row[1])
