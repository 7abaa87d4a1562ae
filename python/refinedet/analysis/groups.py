"""Groups of classes: which are drawn together, and which are alike enough to be taken for one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.voc import VOC_CLASSES

ALL, OTHERS = "all", "others"

VOC_GROUPS = {
    "animals": ("bird", "cat", "cow", "dog", "horse", "person", "sheep"),
    "vehicles": ("aeroplane", "bicycle", "boat", "bus", "car", "motorbike", "train"),
    "furniture": ("chair", "diningtable", "sofa"),
}
"""As "Diagnosing error in object detectors" (Hoiem et al., ECCV 2012) has them."""
VOC_ALIKE = ("aeroplane", "bird")
"""Alike for that paper though of two groups."""


@dataclass(frozen=True)
class Groups:
    """members: labels by the group's name, every label in one group. similar: (C + 1, C + 1) bool, by label, whether
    two different classes are alike. source: where the groups come from, in words."""

    members: dict[str, list[int]]
    similar: np.ndarray
    source: str


def find_groups(
    class_names: Sequence[str],
    given: Mapping[str, Sequence[str]] | None = None,
    supercategories: Mapping[str, str] | None = None,
) -> Groups:
    """The groups that are given, or else COCO's supercategories, or else those of VOC's classes, or else one of all
    classes, of which none is like another.

    given: class names by group; classes in none of them make up the group "others" and are like none. supercategories:
    by class name; where all are one they say nothing. ValueError for a name that is no class, for a class in two groups
    and for a group without classes.
    """
    if given is not None:
        return _make(class_names, _checked(class_names, given), "as given")
    by_super: dict[str, list[str]] = {}
    for name in class_names:
        by_super.setdefault((supercategories or {}).get(name) or OTHERS, []).append(name)
    if len(by_super) > 1:
        return _make(class_names, by_super, "the supercategories of the data", alone=by_super.get(OTHERS, ()))
    if set(class_names) <= set(VOC_CLASSES):
        voc = {group: [n for n in names if n in class_names] for group, names in VOC_GROUPS.items()}
        groups = _make(class_names, {group: names for group, names in voc.items() if names}, "those of PASCAL VOC")
        if set(VOC_ALIKE) <= set(class_names):
            one, other = (list(class_names).index(name) + 1 for name in VOC_ALIKE)
            groups.similar[one, other] = groups.similar[other, one] = True
        return groups
    return _make(class_names, {ALL: list(class_names)}, "none", alone=class_names)


def _checked(class_names: Sequence[str], given: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    if not given:
        raise ValueError("groups: expected class names by group, got none")
    seen: dict[str, str] = {}
    for group, names in given.items():
        if not isinstance(names, (list, tuple)) or not names:
            raise ValueError(f"groups.{group}: expected a list of classes, got {names!r}")
        for name in names:
            if name not in class_names:
                raise ValueError(f"groups.{group}: expected classes out of {', '.join(class_names)}, got {name!r}")
            if name in seen:
                raise ValueError(f"groups.{group}: {name} is in {seen[name]} already")
            seen[name] = group
    if OTHERS in given and len(seen) < len(class_names):
        missing = next(name for name in class_names if name not in seen)
        raise ValueError(f"groups.{OTHERS}: expected all classes that are in no other group, {missing} is missing")
    return dict(given)


def _make(
    class_names: Sequence[str], groups: Mapping[str, Sequence[str]], source: str, alone: Sequence[str] = ()
) -> Groups:
    """alone: classes that are like none."""
    label_of = {name: i + 1 for i, name in enumerate(class_names)}
    members = {group: sorted(label_of[name] for name in names) for group, names in groups.items()}
    similar = np.zeros((len(class_names) + 1, len(class_names) + 1), bool)
    for labels in members.values():
        similar[np.ix_(labels, labels)] = True
    lonely = [label_of[name] for name in alone]
    similar[lonely, :] = similar[:, lonely] = False
    np.fill_diagonal(similar, False)
    grouped = {label for labels in members.values() for label in labels}
    rest = [label for label in label_of.values() if label not in grouped]
    if rest:
        members[OTHERS if members else ALL] = rest
    return Groups(members, similar, source)
