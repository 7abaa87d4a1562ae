from __future__ import annotations

import pytest

from refinedet.analysis.error_costs import KINDS, error_costs

from ..evaluation.scenes import make_record
from .test_matching import scene_of


def kinds(found):
    return [KINDS[kind] if kind >= 0 else None for kind in found.kinds]


def test_every_kind():
    scene = scene_of(
        [(1, 1, [0, 0, 10, 10]), (1, 2, [100, 0, 110, 10]), (1, 1, [300, 0, 310, 10], {"difficult": 1})],
        make_record(
            1,
            (1, 0.9, [0, 0, 10, 10]),  # correct
            (1, 0.8, [0, 0, 10, 9]),  # duplicate
            (1, 0.7, [0, 0, 10, 3]),  # IoU 0.3
            (1, 0.6, [100, 0, 110, 9]),  # IoU 0.9 with one of b
            (1, 0.5, [100, 0, 110, 3]),  # IoU 0.3 with one of b
            (1, 0.4, [0, 50, 10, 60]),
            (1, 0.3, [300, 0, 310, 10]),  # on what is ignored
        ),
    )
    found = error_costs(scene)
    assert kinds(found) == [None, "duplicate", "localisation", "classification", "both", "background", None]
    assert found.counts["missed"] == 0  # what should have found the b was of the wrong class
    assert found.per_class.tolist() == [[1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0]]


def test_a_wrong_class_mended():
    """a and b have one object each; the one detection is of a on the object of b."""
    found = error_costs(
        scene_of([(1, 1, [0, 0, 10, 10]), (1, 2, [50, 0, 60, 10])], make_record(1, (1, 0.9, [50, 0, 60, 10])))
    )
    assert found.ap == 0.0 and found.costs["classification"] == 0.5
    assert found.counts["missed"] == 1 and found.costs["missed"] == 0.0  # a's leaves the mean, b has 0 as before
    assert found.costs["false positives"] == 0.0
    assert found.costs["false negatives"] is None  # no object is left


def test_of_two_badly_localised_the_better_one_is_mended():
    scene = scene_of([(1, 1, [0, 0, 10, 10])], make_record(1, (1, 0.9, [0, 0, 10, 4]), (1, 0.8, [0, 0, 10, 3])))
    found = error_costs(scene)
    assert found.ap == 0.0 and found.costs["localisation"] == 1.0 and found.counts["localisation"] == 2
    assert found.counts["missed"] == 0


def test_what_is_taken_out():
    """Behind a background detection the object is found at precision 1/2; the duplicate after it costs nothing."""
    scene = scene_of(
        [(1, 1, [0, 0, 10, 10]), (2, 2, [0, 0, 10, 10])],
        make_record(
            1, (1, 0.9, [0, 50, 10, 60]), (1, 0.8, [0, 0, 10, 10]), (1, 0.7, [0, 0, 10, 9]), (2, 0.6, [70, 0, 80, 9])
        ),
    )
    found = error_costs(scene)
    assert found.ap == pytest.approx(0.25)  # a has 1/2, b 0
    assert found.costs["background"] == pytest.approx(0.25) and found.costs["duplicate"] == 0.0
    assert found.costs["false positives"] == pytest.approx(0.25)
    assert found.counts["missed"] == 1 and found.costs["missed"] == pytest.approx(0.25)  # b leaves the mean
    assert found.costs["false negatives"] == pytest.approx(0.25)


def test_a_found_object_is_not_found_again():
    """A detection of b on an object of a that was found is taken out, not made a second correct one."""
    scene = scene_of(
        [(1, 1, [0, 0, 10, 10]), (1, 2, [50, 0, 60, 10])],
        make_record(1, (1, 0.9, [0, 0, 10, 10]), (2, 0.8, [0, 0, 10, 10]), (2, 0.7, [50, 0, 60, 10])),
    )
    found = error_costs(scene)
    assert found.ap == pytest.approx(0.75) and found.costs["classification"] == pytest.approx(0.25)


def test_nothing_to_measure():
    found = error_costs(scene_of([], make_record(1, (1, 0.9, [0, 0, 1, 1])), images=[1]))
    assert found.ap is None and set(found.costs.values()) == {None} and found.counts["background"] == 1
    none = error_costs(scene_of([(1, 1, [0, 0, 10, 10])]))
    assert none.ap == 0.0 and none.counts["missed"] == 1 and none.costs["missed"] is None
