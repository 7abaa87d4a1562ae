"""Feature pyramids between the backbone and the second stage."""

from __future__ import annotations

from .enrichment import FeatureEnrichment, ObjectnessModule
from .mscf import MultiScaleContext
from .tcb import TransferConnectionPyramid

__all__ = ["FeatureEnrichment", "MultiScaleContext", "ObjectnessModule", "TransferConnectionPyramid"]
