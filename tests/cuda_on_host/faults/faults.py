"""All faults of the kernels, as they stand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .by_hand import BY_HAND, HARMLESS, Damage, Harmless
from .patterns import PLAIN_ATOMICS, damages
from .sources import damaged_files, name_of


@dataclass(frozen=True)
class Fault:
    file: str  # in csrc/cuda
    line: int
    what: str
    text: str  # of the damaged file
    harmless: str = ""  # why it is

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.what}"


class StaleFaultError(Exception):
    """A fault that is listed by hand is not to be found in the kernels any more."""


def plant(
    file: str, text: str, by_hand: Iterable[Damage] = BY_HAND, harmless: Iterable[Harmless] = HARMLESS
) -> list[Fault]:
    """The faults of a file, in the order of its lines.

    Args:
        file: path in csrc/cuda.
        text: what it holds.
        by_hand: faults that no pattern finds, of any file.
        harmless: what is none, of any file.

    Raises:
        StaleFaultError: the text of a listed fault does not stand once in its file, or a harmless one is not found.
    """
    harmless = [entry for entry in harmless if entry.file == file]
    faults, met = [], set()
    for begin, end, instead, what in damages(text):
        number, first, last = text.count("\n", 0, begin), text.rfind("\n", 0, begin) + 1, text.index("\n", begin)
        known = [e for e in harmless if first <= text.find(e.line, first) < last and what.startswith(e.what)]
        met.update(known)
        damaged = text[:begin] + instead + text[end:]
        if "not_atomic::" in instead:
            damaged = f"{PLAIN_ATOMICS}#line 1\n{damaged}"
        faults.append(Fault(file, number + 1, what, damaged, known[0].reason if known else ""))
    for entry in harmless:
        if entry not in met:
            raise StaleFaultError(f"{file}: no fault '{entry.what}' in a line with '{entry.line}', listed as harmless")
    for old_file, old, new, what in by_hand:
        if old_file == file:
            if text.count(old) != 1:
                raise StaleFaultError(f"{file}: '{old}' stands there {text.count(old)} times, expected once ({what})")
            faults.append(Fault(file, text.count("\n", 0, text.index(old)) + 1, what, text.replace(old, new)))
    return sorted(faults, key=lambda fault: fault.line)


def all_faults() -> list[Fault]:
    """Raises StaleFaultError, too, where a fault is listed for a file that is not there."""
    files = damaged_files()
    names = {name_of(file) for file in files}
    for listed in [*(damage.file for damage in BY_HAND), *(entry.file for entry in HARMLESS)]:
        if listed not in names:
            raise StaleFaultError(f"{listed}: no such file in csrc/cuda that faults are planted in")
    return [fault for file in files for fault in plant(name_of(file), file.read_text(encoding="utf-8"))]
