"""What this machine can do, as the ops see it."""

from __future__ import annotations

import torch


def multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions that multiply bfloat16; where it has none, such products are emulated.

    The environment variable REFINEDET_EXT_CPU_LEVEL counts: below the machine's best level it has none. Also true where
    the compiled ops, which know, are missing.
    """
    from . import _library  # loads the ops; and it asks this module

    return not _library.available() or bool(torch.ops.refinedet_ext._multiplies_bfloat16())
