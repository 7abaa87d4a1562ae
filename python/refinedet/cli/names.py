"""Names of commands and options as people type them: `-` for `_`, and the closest one to a name that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence


class OptionNames:
    """The options of one command.

    names: with their dots and without the leading "--", such as "optim.lr". mappings: those among them that hold a
    mapping, so that "model.options.theta" sets one of its keys.
    """

    def __init__(self, names: Iterable[str], mappings: Iterable[str]) -> None:
        self.names = sorted(set(names))
        self.plain = [name for name in self.names if not name.endswith("+")]  # names+ adds to the list of names
        self.mappings = frozenset(mappings)
        self.sections = {prefix for name in self.names for prefix, _ in _cuts(name)}

    def find(self, name: str) -> str | None:
        """The option of this name, "-" and "_" being one; None if there is none. Keys of mappings stay as they are."""
        wanted = name.replace("-", "_")
        if wanted in self.names:
            return wanted
        for prefix, rest in _cuts(name):
            if prefix.replace("-", "_") in self.mappings:
                return f"{prefix.replace('-', '_')}.{rest}"
        return None

    def closest(self, name: str) -> list[str]:
        """Options that may have been meant, the likeliest first; three at most."""
        wanted = name.replace("-", "_")
        last = _last(wanted)
        same = [other for other in self.plain if _last(other) == last]
        similar = difflib.get_close_matches(wanted, self.plain, n=3, cutoff=0.75)
        ends = difflib.get_close_matches(last, sorted({_last(other) for other in self.plain}), n=1, cutoff=0.75)
        alike = [other for other in self.plain if _last(other) in ends]
        return list(dict.fromkeys([*same, *similar, *alike]))[:3]


def did_you_mean(close: Sequence[str]) -> str:
    """The end of a message: "; did you mean a or b?", or nothing."""
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """A dotted name cut at each of its dots."""
    parts = name.split(".")
    for count in range(1, len(parts)):
        yield ".".join(parts[:count]), ".".join(parts[count:])


def _last(name: str) -> str:
    return name.rpartition(".")[2]
