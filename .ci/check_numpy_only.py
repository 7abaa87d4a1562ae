"""The installed wheel without torch: box ops run on arrays, a torch op names what is missing. Run outside the tree."""

from __future__ import annotations

import importlib.util

import numpy as np

import refinedet_ext as rx
import refinedet_ext.numpy as rxn

assert importlib.util.find_spec("torch") is None, "this check wants an environment without torch"

boxes = rxn.decode_boxes([[0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 2.0, 4.0]])
assert np.array_equal(boxes, [[0.0, 0.0, 2.0, 4.0]]), boxes
kept = rxn.batched_nms([[0, 0, 2, 2], [0, 0, 2, 2.1], [5, 5, 6, 6]], [0.5, 0.9, 0.1], np.zeros(3, np.int64), 0.5)
assert kept.tolist() == [1, 2], kept

try:
    rx.decode_boxes  # noqa: B018
except ImportError as error:
    assert "needs torch" in str(error), error
else:
    raise AssertionError("refinedet_ext.decode_boxes should ask for torch")
print(f"NumPy face of refinedet_ext {rx.__version__} works without torch")
