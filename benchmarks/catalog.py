"""Which cases there are: those of every `bench_*.py` in the folders below."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from .case import Case


def modules() -> list[ModuleType]:
    """The bench files, by name."""
    here = Path(__file__).parent
    paths = sorted(here.rglob("bench_*.py"), key=lambda path: path.stem)
    names = (".".join(path.relative_to(here).with_suffix("").parts) for path in paths)
    return [importlib.import_module(f"{__package__}.{name}") for name in names]


def all_cases() -> Iterator[Case]:
    """Every case; making them costs nothing, their inputs come later."""
    for module in modules():
        yield from module.cases()


def select(words: Sequence[str], *, skip: Sequence[str] = (), short: bool = False) -> list[Case]:
    """The cases whose title contains one of the words (all, without any) and none of `skip`, in the catalog's order.

    short: only those of the five-minute selection. ValueError if a word fits no case at all.
    """
    cases = list(all_cases())
    for word in (*words, *skip):
        if not any(word in case.title() for case in cases):
            ops = ", ".join(dict.fromkeys(case.op for case in cases))
            raise ValueError(f"select: no case has {word!r} in its title; ops: {ops}")
    return [
        case
        for case in cases
        if (case.short or not short)
        and (not words or any(word in case.title() for word in words))
        and not any(word in case.title() for word in skip)
    ]
