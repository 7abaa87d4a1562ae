"""What this machine and this torch offer."""

from __future__ import annotations

import torch

from ..checks import check_choice

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CHOICES = ("auto", *DTYPES)


def multiplies_bfloat16() -> bool:
    """Whether the CPU has instructions for products of bfloat16; without them it is slower than float32."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # of torch.cpu, not in every version
    return any(getattr(torch.cpu, name, bool)() for name in names)


def can_pack() -> bool:
    """Whether torch has oneDNN's convolutions with packed weights and what follows them fused in."""
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_convolution_pointwise", "_reorder_convolution_weight")
    )


def resolve_dtype(dtype: str) -> tuple[torch.dtype, str]:
    """The dtype to compute in, and why. ValueError for a name that is not one of `CHOICES`."""
    check_choice("dtype", dtype, CHOICES)
    if dtype != "auto":
        return DTYPES[dtype], "as asked for"
    if multiplies_bfloat16():
        return torch.bfloat16, "the CPU multiplies bfloat16"
    return torch.float32, "the CPU has no instructions for bfloat16"
