"""The ops on torch tensors, one a file; import them from `refinedet_ext`."""

from __future__ import annotations

from .. import _pytree
from ..results import Detections, KeptAnchors, KeptBoxes, Matches, MinedLoss

_pytree.register(Detections, KeptAnchors, KeptBoxes, Matches, MinedLoss)
