"""Negative anchor filtering: what it means that the first stage (ARM, APM) takes an anchor for background.

An anchor passes where its background confidence is at most theta, which for theta = 0.99 is an object confidence of at
least 0.01. Detection drops the others. In training ("train") there are four readings; mining decides among the
candidates:

- "caffe", the original, and PADet: a negative that does not pass is no candidate, a positive always trains;
- "paper": nothing that does not pass trains;
- "peers" (RefineDet.PyTorch, EFGRNet): negatives are all candidates; a positive that does not pass is no positive any
  more, but a candidate;
- "none": no filter.
"""

from __future__ import annotations

import math
from typing import Any


def run(given: dict[str, Any]) -> dict[str, Any]:
    if given["of"] == "train":
        return train(given["rule"], given["labels"], given["passes"])
    passes = [[passes_filter(row, given["theta"]) for row in image] for image in given["logits"]]
    index = [[a for a, kept in enumerate(image) if kept] for image in passes]
    return {"passes": passes, "index": index, "count": [len(rows) for rows in index]}


def passes_filter(logits: list[float], theta: float) -> bool:
    """logits: background, object; a single one is that of a sigmoid, which is a softmax beside a 0."""
    background, object_ = logits if len(logits) == 2 else (0.0, logits[0])
    top = max(background, object_)
    a, b = math.exp(background - top), math.exp(object_ - top)
    return a / (a + b) <= theta


def train(rule: str, labels: list[list[int]], passes: list[list[bool]]) -> dict[str, Any]:
    """Who trains as an object, and who may be mined as background."""
    positive: list[list[bool]] = []
    candidate: list[list[bool]] = []
    for row, kept in zip(labels, passes, strict=True):
        if rule == "none":
            positive.append([label > 0 for label in row])
            candidate.append([label == 0 for label in row])
        elif rule == "caffe":
            positive.append([label > 0 for label in row])
            candidate.append([label == 0 and k for label, k in zip(row, kept, strict=True)])
        elif rule == "paper":
            positive.append([label > 0 and k for label, k in zip(row, kept, strict=True)])
            candidate.append([label == 0 and k for label, k in zip(row, kept, strict=True)])
        else:
            positive.append([label > 0 and k for label, k in zip(row, kept, strict=True)])
            candidate.append([label == 0 or (label > 0 and not k) for label, k in zip(row, kept, strict=True)])
    return {"positive": positive, "candidate": candidate}
