"""The ops on torch tensors, one a file, and what torch has to know of the tuples that they return."""

from __future__ import annotations

from torch.serialization import add_safe_globals
from torch.utils._pytree import _register_namedtuple

from ..results import Detections, KeptAnchors, KeptBoxes, Matches, MinedLoss

_RESULTS = (Detections, KeptAnchors, KeptBoxes, Matches, MinedLoss)

for _result in _RESULTS:  # torch takes any named tuple apart, but torch.export.save asks for a name
    _register_namedtuple(_result, serialized_type_name=f"{_result.__module__}.{_result.__name__}")
add_safe_globals([*_RESULTS])  # for torch.load, with which torch.export.load reads its example inputs
