"""Fails if an object file of one CPU level defines a weak symbol that other levels could share (see csrc/cpu/level.h).

Usage: check_levels.py LEVEL OBJECT...
"""

from __future__ import annotations

import subprocess
import sys


def shared_weak_symbols(level: str, objects: list[str]) -> list[str]:
    listing = subprocess.run(["nm", "--defined-only", *objects], check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[-2:] for line in listing.splitlines() if len(line.split()) == 3]
    marker = f"{len(level)}{level}"  # how the namespace stands in a mangled name
    shared = [name for kind, name in symbols if kind in "WVu" and marker not in name]
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
