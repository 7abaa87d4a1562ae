"""What this machine can do, as the ops see it."""

from __future__ import annotations

from ._library import multiplies_bfloat16

__all__ = ["multiplies_bfloat16"]
