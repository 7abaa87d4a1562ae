"""What this machine can do, as the ops see it."""

from __future__ import annotations

import torch


def multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions that multiply bfloat16; where it has none, such products are emulated.

    The ops' own test where they are loaded (it knows the environment variable REFINEDET_EXT_CPU_LEVEL), otherwise
    torch's.
    """
    op = getattr(torch.ops.refinedet_ext, "_multiplies_bfloat16", None)
    if op is not None:
        return bool(op())
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # of torch.cpu, not in every version
    return any(getattr(torch.cpu, name, bool)() for name in names)
