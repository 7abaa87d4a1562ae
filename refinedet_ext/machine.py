"""What this machine can do, as the ops see it."""

from __future__ import annotations

import torch


def multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions that multiply bfloat16; where it has none, such products are emulated.

    Also true where the compiled ops, which know, are missing or too old to tell.
    """
    from . import _library  # loads the ops; and it asks this module

    ops = torch.ops.refinedet_ext
    return not (_library.available() and hasattr(ops, "_multiplies_bfloat16")) or bool(ops._multiplies_bfloat16())
