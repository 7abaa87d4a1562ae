"""What was wrong with the annotations of a data set: every problem, by kind, file and object."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any


class ProblemKind(str, Enum):
    """The kinds of problems; `consequence` says what a data set does about one with "skip"."""

    MISSING_IMAGE = "missing_image"
    OUTSIDE_FOLDER = "outside_folder"
    UNREADABLE_IMAGE = "unreadable_image"
    MISSING_ANNOTATION = "missing_annotation"
    INVALID_ANNOTATION = "invalid_annotation"
    DUPLICATE_IMAGE = "duplicate_image"
    SIZE_MISMATCH = "size_mismatch"
    MISSING_SIZE = "missing_size"
    UNKNOWN_IMAGE = "unknown_image"
    INVALID_OBJECT = "invalid_object"
    UNKNOWN_CLASS = "unknown_class"
    NON_FINITE = "non_finite"
    NO_AREA = "no_area"
    FRACTIONS = "fractions"
    OUTSIDE_IMAGE = "outside_image"
    PARTLY_OUTSIDE = "partly_outside"

    @property
    def consequence(self) -> str:
        """What became of the image or the object."""
        if self in _IMAGE_KINDS:
            return "image skipped"
        if self is ProblemKind.MISSING_SIZE:
            return "size taken from the image"
        if self is ProblemKind.PARTLY_OUTSIDE:
            return "box clipped to the image"
        return "object skipped"


_IMAGE_KINDS = frozenset(
    {
        ProblemKind.MISSING_IMAGE,
        ProblemKind.OUTSIDE_FOLDER,
        ProblemKind.UNREADABLE_IMAGE,
        ProblemKind.MISSING_ANNOTATION,
        ProblemKind.INVALID_ANNOTATION,
        ProblemKind.DUPLICATE_IMAGE,
        ProblemKind.SIZE_MISMATCH,
    }
)


@dataclass(frozen=True)
class Problem:
    """One problem. object_index: 0-based among the objects of the file, None for a whole file."""

    kind: ProblemKind
    file: str
    object_index: int | None
    detail: str
    consequence: str

    def __str__(self) -> str:
        where = self.file if self.object_index is None else f"{self.file}, object "
        where += "" if self.object_index is None else str(self.object_index)
        return f"{where}: {self.detail} ({self.kind.value}; {self.consequence})"


@dataclass
class AnnotationReport:
    """All problems of one data set, and what was left out because an option asked for it.

    source: what was read. images, objects: how many are in the data set in the end. excluded: how
    many objects an option left out, by reason ("difficult", "crowd", "class"); those are no
    problems. notes: what else was seen that is no problem, phrases after a number ("images have no label file
    and count as images without objects"). found: the class names in the annotations, wanted or not,
    with the number of objects. len() is the number of problems.
    """

    source: str
    images: int = 0
    objects: int = 0
    problems: list[Problem] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        kind: ProblemKind,
        file: str | Path,
        object_index: int | None,
        detail: str,
        consequence: str | None = None,
    ) -> None:
        """Records a problem. consequence: what was done; None: what its kind says."""
        self.problems.append(Problem(kind, str(file), object_index, detail, consequence or kind.consequence))

    @property
    def counts(self) -> dict[str, int]:
        """Number of problems per kind, in the order of ProblemKind, only kinds that occur."""
        found = Counter(problem.kind for problem in self.problems)
        return {kind.value: found[kind] for kind in ProblemKind if found[kind]}

    def of_kind(self, kind: ProblemKind | str) -> list[Problem]:
        """The problems of one kind."""
        return [problem for problem in self.problems if problem.kind == ProblemKind(kind)]

    def summary(self, limit: int | None = 10) -> str:
        """Several lines: totals, counts per kind, the first `limit` problems (None: all)."""
        total = f"{counted(self.images, 'image')} with {counted(self.objects, 'object')}"
        return "\n".join([f"{self.source}: {total}", *self.details(limit)])

    def details(self, limit: int | None = 10) -> list[str]:
        """The lines of `summary` after the first."""
        lines = []
        if self.excluded:
            parts = [f"{count} {reason}" for reason, count in sorted(self.excluded.items())]
            lines.append(f"  left out by option: {', '.join(parts)}")
        lines += [f"  {count} {phrase}" for phrase, count in self.notes.items()]
        if not self.problems:
            return [*lines, "  no problems found"]
        parts = [f"{count} {kind}" for kind, count in self.counts.items()]
        lines.append(f"  {counted(len(self.problems), 'problem')}: {', '.join(parts)}")
        shown = self.problems if limit is None else self.problems[:limit]
        lines += [f"  - {problem}" for problem in shown]
        if len(shown) < len(self.problems):
            lines.append(f"  - and {len(self.problems) - len(shown)} more")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The report as plain numbers, strings, lists and dictionaries."""
        return {
            "source": self.source,
            "images": self.images,
            "objects": self.objects,
            "excluded": dict(sorted(self.excluded.items())),
            "notes": dict(self.notes),
            "counts": self.counts,
            "problems": [
                {
                    "kind": problem.kind.value,
                    "file": problem.file,
                    "object_index": problem.object_index,
                    "detail": problem.detail,
                    "consequence": problem.consequence,
                }
                for problem in self.problems
            ],
        }

    def write_json(self, path: str | Path) -> None:
        """Writes to_dict() to a file; its folder must exist."""
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def __len__(self) -> int:
        return len(self.problems)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)


def counted(count: int, noun: str) -> str:
    """ "1 image", "2 images"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class AnnotationError(ValueError):
    """Annotations were refused. report holds every problem, the message the first of them."""

    def __init__(self, report: AnnotationReport, reason: str) -> None:
        super().__init__(f"{reason}\n{report.summary()}")
        self.report = report

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would rebuild the error from its message alone, in a process pool for one.
        return _rebuild_error, (self.report, str(self))


def _rebuild_error(report: AnnotationReport, message: str) -> AnnotationError:
    error = AnnotationError(report, "")
    error.args = (message,)
    return error
