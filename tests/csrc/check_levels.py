"""Fails if an object file of one CPU level defines a weak symbol that other levels could share.

Why that matters is said in csrc/cpu/runtime/level.h.

Usage: check_levels.py LEVEL OBJECT...
"""

from __future__ import annotations

import subprocess
import sys

LEVELS = ("baseline", "avx2", "avx512")  # as in refinedet::cpu::Level


def shared_weak_symbols(level: str, objects: list[str]) -> list[str]:
    listing = subprocess.run(["nm", "--defined-only", *objects], check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[-2:] for line in listing.splitlines() if len(line.split()) == 3]
    # how the level's namespace, and a kernel of that level, stand in a mangled name
    markers = f"{len(level)}{level}", f"5LevelE{LEVELS.index(level)}E"
    shared = [name for kind, name in symbols if kind in "WVu" and not any(m in name for m in markers)]
    return [name for name in shared if not name.startswith("DW.ref.")]  # a pointer for stack unwinding, no code


def main() -> None:
    level, objects = sys.argv[1], sys.argv[2:]
    if not objects:
        sys.exit("no object files given")
    shared = shared_weak_symbols(level, objects)
    if shared:
        sys.exit(f"{level}: weak symbols outside the level's namespace:\n  " + "\n  ".join(sorted(set(shared))))
    print(f"{level}: {len(objects)} object files, no shared weak symbol")


if __name__ == "__main__":
    main()
