"""Feature pyramids between the backbone and the second stage."""

from __future__ import annotations

from .bilinear_fusion import BilinearFusion
from .encoder_decoder import EncoderDecoder
from .enrichment import FeatureEnrichment, ObjectnessModule
from .mscf import MultiScaleContext
from .tcb import TransferConnectionPyramid

__all__ = [
    "BilinearFusion",
    "EncoderDecoder",
    "FeatureEnrichment",
    "MultiScaleContext",
    "ObjectnessModule",
    "TransferConnectionPyramid",
]
