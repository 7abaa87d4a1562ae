from __future__ import annotations

import pytest

from refinedet.analysis.groups import find_groups
from refinedet.analysis.sensitivity import as_json, sensitivity

from ..evaluation.scenes import make_record
from .test_matching import scene_of

WIDTHS = range(1, 11)
OBJECTS = [(1, 1, [100 * w, 0, 100 * w + 10 * w, 10]) for w in WIDTHS]
"""Ten objects of widths 10 to 100 and height 10: the least is XS and XT, the next two S, four M, two L, one XL."""


def test_parts_by_hand():
    """All but the narrowest are found, and one false positive has the best score of all."""
    rows = [(1, 0.9 - w / 100, [100 * w, 0, 100 * w + 10 * w, 10]) for w in WIDTHS if w > 1]
    scene = scene_of(OBJECTS, make_record(1, *rows, (1, 0.95, [0, 500, 10, 510])), names=("a",))
    found = sensitivity(scene)
    sizes = found.parts["size"]["a"]
    assert [sizes[part].objects for part in ("XS", "S", "M", "L", "XL")] == [1, 2, 4, 2, 1]
    assert sizes["XS"].ap == 0.0 and sizes["XS"].error == 0.0
    # the one XL is found behind one false positive: as if 10 of 10 were found, 10 / 11
    assert sizes["XL"].ap == pytest.approx(10 / 11)
    # the envelope of two: 10 / 11 at the second lifts 5 / 6 at the first
    assert sizes["S"].ap == pytest.approx(10 / 11)
    assert sizes["S"].error == pytest.approx((10 / 11 - 5 / 6) / 2 / 2**0.5)
    # of all: 9 of 10 found, envelope 9 / 10 throughout
    assert found.all["a"].ap == pytest.approx(0.9 * 0.9)
    ratios = found.parts["aspect ratio"]["a"]
    assert [ratios[part].ap for part in ("XT", "XW")] == [0.0, pytest.approx(10 / 11)]


def test_what_is_normalized_is_the_number_of_objects():
    """a has 3 objects and b 1, on average 2: both find one object behind one false positive."""
    scene = scene_of(
        [(1, 1, [0, 0, 10, 10]), (2, 1, [0, 0, 10, 10]), (3, 1, [0, 0, 10, 10]), (1, 2, [50, 0, 60, 10])],
        make_record(
            1,
            (1, 0.9, [0, 50, 10, 60]),
            (1, 0.8, [0, 0, 10, 10]),
            (2, 0.9, [0, 50, 10, 60]),
            (2, 0.8, [50, 0, 60, 10]),
        ),
    )
    found = sensitivity(scene)
    assert found.all["b"].ap == pytest.approx(2 / 3)  # recall 1: 2 found, 1 false
    assert found.all["a"].ap == pytest.approx(1 / 3 * (2 / 3) / (2 / 3 + 1))  # recall 1/3: 2/3 found, 1 false
    assert found.mean() == pytest.approx((found.all["a"].ap + found.all["b"].ap) / 2)
    # equal objects stay together, in the lowest part
    assert found.parts["size"]["a"]["XS"].objects == 3 and found.parts["size"]["a"]["XL"].ap is None


def test_without_objects_there_is_nothing_to_measure():
    scene = scene_of([(1, 1, [0, 0, 10, 10])], make_record(1, (2, 0.5, [0, 0, 10, 10])))
    content = as_json(sensitivity(scene), find_groups(["a", "b"]), ["a", "b"])
    assert content["classes"]["b"]["ap"] is None and content["classes"]["b"]["size"]["M"]["objects"] == 0
    assert content["all"]["ap"] == 0.0 and content["all"]["range"]["size"] == [0.0, 0.0]
    empty = as_json(sensitivity(scene_of([], images=[1])), find_groups(["a", "b"]), ["a", "b"])
    assert empty["all"]["ap"] is None and empty["all"]["range"]["size"] is None
