"""Feature pyramids between the backbone and the second stage."""

from __future__ import annotations

from .tcb import TransferConnectionPyramid

__all__ = ["TransferConnectionPyramid"]
