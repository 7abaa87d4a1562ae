"""Training losses."""

from __future__ import annotations

from .filtering import FILTERINGS, filter_candidates
from .multibox import MultiBoxLoss

__all__ = ["FILTERINGS", "MultiBoxLoss", "filter_candidates"]
