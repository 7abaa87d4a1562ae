"""What this machine and this torch offer."""

from __future__ import annotations

import torch

from refinedet_ext.machine import multiplies_bfloat16

from ..checks import check_choice

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CHOICES = ("auto", *DTYPES)


def why_not_packed(dtype: torch.dtype) -> str | None:
    """None where torch has oneDNN's convolutions with packed weights and what follows them fused in, for this dtype;
    otherwise what is missing."""
    if not torch.backends.mkldnn.is_available() or not all(
        hasattr(torch.ops.mkldnn, name) for name in ("_convolution_pointwise", "_reorder_convolution_weight")
    ):
        return "this torch has no oneDNN"
    # oneDNN packs what the processor has instructions for; in other dtypes torch's own convolutions are right
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "oneDNN packs no bfloat16 on this CPU"
    return None


def resolve_dtype(dtype: str) -> tuple[torch.dtype, str]:
    """The dtype to compute in, and why. ValueError for a name that is not one of `CHOICES`."""
    check_choice(dtype, "dtype", CHOICES)
    if dtype == "bfloat16" and not multiplies_bfloat16():
        return DTYPES[dtype], "as asked for, though the CPU has no instructions for it: float32 is faster here"
    if dtype != "auto":
        return DTYPES[dtype], "as asked for"
    if multiplies_bfloat16():
        return torch.bfloat16, "the CPU multiplies bfloat16"
    return torch.float32, "the CPU has no instructions for bfloat16"
