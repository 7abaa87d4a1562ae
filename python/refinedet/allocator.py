"""How the C library deals with memory that was freed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

SETTINGS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")
"""Variables of the environment by which a user says it himself."""

# glibc's malloc.h
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1


def keep_freed_memory(environment: Mapping[str, str] | None = None) -> bool:
    """Let this process keep the memory it frees, for its next allocations.

    glibc gives large blocks back to the system, which has to clear every page of them when the next step asks again: a
    third of the time of a training step on a CPU. Kept memory makes the process larger by what lies between its blocks
    (measured: by a quarter), and stays with it until it ends.

    Args:
        environment: where the settings of glibc are looked up; None is the process's own.

    Returns:
        True if that was done. Nothing is done with another C library, or where one of `SETTINGS` is in `environment`;
        another allocator that was loaded before the C library's takes no notice.
    """
    if any(name in (os.environ if environment is None else environment) for name in SETTINGS):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, NEVER))
