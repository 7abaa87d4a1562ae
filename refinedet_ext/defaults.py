"""The default of every setting, once: for both faces, and as the schemas of the registered ops have them too."""

from __future__ import annotations

VARIANCES = (0.1, 0.1, 0.2, 0.2)  # SSD and RefineDet: what center x, center y, width and height are divided by

THETA = 0.99  # the background confidence of the first stage above which an anchor is left out

POSITIVE_IOU = 0.5
NEGATIVE_IOU = 0.5
IGNORE_IOF = 0.5
FORCE_MATCH = "bipartite"

RATIO = 3.0  # hard negatives per positive
MIN_NEGATIVES = 0

BETA = 1.0  # of the smooth L1 loss

SCORE_THRESHOLD = 0.01
IOU_THRESHOLD = 0.45
TOP_K_PER_CLASS: int | None = None
TOP_K: int | None = 400
KEEP_TOP_K = 200
METHOD = "hard"
SIGMA = 0.5
MIN_SCORE = 0.001
