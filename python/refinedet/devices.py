"""Where a detector is asked to run, looked at before anything is computed."""

from __future__ import annotations

import torch


def resolve_device(device: str) -> torch.device:
    """ValueError for a device that torch does not know or that is not here."""
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device: expected one such as cpu or cuda, got {device!r}") from None
    if resolved.type == "cuda":
        there = torch.cuda.device_count()
        if (resolved.index or 0) >= there:
            raise ValueError(f"device: expected one that is here, got {device!r} where torch sees {there} GPUs")
    return resolved
