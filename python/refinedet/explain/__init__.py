"""What a detector looks at in an image: `refinedet explain`."""

from __future__ import annotations

from .explanation import ExplainedObject, Explanation, explain
from .files import NUMBERS, explain_file
from .levels import Level
from .recording import Recording, record
from .sampling import sampling_points

__all__ = [
    "NUMBERS",
    "ExplainedObject",
    "Explanation",
    "Level",
    "Recording",
    "explain",
    "explain_file",
    "record",
    "sampling_points",
]
