"""A process that keeps its freed memory asks the system for it once; a user's own setting stays."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from refinedet.allocator import SETTINGS, keep_freed_memory

CODE = """
import resource, sys
import numpy as np
from refinedet.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for _ in range(2):  # the first blocks come from the system in any case
    np.ones(1 << 23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def faults(way: str) -> int:
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    # NumPy's own huge pages make one fault of 512
    environment["NUMPY_MADVISE_HUGEPAGE"] = "0"
    done = subprocess.run([sys.executable, "-c", CODE, way], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@glibc
def test_freed_memory_is_used_again():
    pages = 5 * (1 << 26) // os.sysconf("SC_PAGE_SIZE")
    assert faults("leave") > pages // 2
    assert faults("keep") < pages // 100


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_users_stays(name):
    assert not keep_freed_memory({name: "1"})
