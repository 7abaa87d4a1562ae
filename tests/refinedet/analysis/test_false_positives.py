from __future__ import annotations

import pytest

from refinedet.analysis.false_positives import KINDS, as_json, false_positive_trends, kinds_of_detections
from refinedet.analysis.groups import find_groups
from refinedet.analysis.matching import match

from ..evaluation.scenes import make_record
from .test_matching import scene_of

NAMES = ("cat", "dog", "car")


def test_every_kind():
    scene = scene_of(
        [
            (1, 1, [0, 0, 10, 10]),
            (1, 2, [100, 0, 110, 10]),
            (1, 3, [200, 0, 210, 10]),
            (1, 1, [300, 0, 310, 10], {"difficult": 1}),
        ],
        make_record(
            1,
            (1, 0.9, [0, 0, 10, 10]),  # correct
            (1, 0.8, [0, 0, 10, 9]),  # a second one on the same object
            (1, 0.7, [0, 0, 10, 2]),  # IoU 0.2
            (1, 0.6, [100, 0, 110, 10]),  # on a dog
            (1, 0.5, [200, 0, 210, 2]),  # IoU 0.2 with a car
            (1, 0.4, [0, 0, 100, 10.5]),  # IoU 0.095 with the cat
            (1, 0.3, [300, 0, 310, 10]),  # on the difficult cat: neither
            (1, 0.2, [300, 0, 310, 3]),  # near it
        ),
        names=NAMES,
    )
    kinds = kinds_of_detections(scene, match(scene), find_groups(NAMES, {"animals": ["cat", "dog"]}))
    assert [KINDS[kind] if kind >= 0 else None for kind in kinds] == [
        "correct", "localisation", "localisation", "similar", "other", "background", None, "localisation"
    ]  # fmt: skip


def test_trends_of_a_class():
    """Two objects. Detections in order: correct, background, one of IoU 0.2 with the second object, correct."""
    scene = scene_of(
        [(1, 1, [0, 0, 10, 10]), (2, 1, [0, 0, 10, 10])],
        make_record(1, (1, 0.9, [0, 0, 10, 10]), (1, 0.8, [50, 0, 60, 10])),
        make_record(2, (1, 0.7, [0, 0, 10, 2]), (1, 0.6, [0, 0, 10, 10])),
    )
    (trend,) = false_positive_trends(scene, find_groups(["a", "b"])).values()
    content = as_json({"all": trend})["all"]
    at = {multiple: place for place, multiple in enumerate(content["multiples"])}
    # 1/2 object: one detection; 1: two; 2: all four
    assert [content["shares"]["correct"][at[m]] for m in (0.5, 1, 2)] == [1.0, 0.5, 0.5]
    assert [content["shares"]["background"][at[m]] for m in (0.5, 1, 2)] == [0.0, 0.5, 0.25]
    assert content["shares"]["localisation"][at[2]] == 0.25
    assert [content["recall"][at[m]] for m in (0.5, 1, 2)] == [0.5, 0.5, 1.0]
    # three detections: at the weak overlap the one of IoU 0.2 finds the second object
    three = next(place for multiple, place in at.items() if 1.25 < multiple < 1.75)
    assert content["recall"][three] == 0.5 and content["weak_recall"][three] == 1.0
    assert content["false_positives"] == [1, 2] and content["mix"]["localisation"] == [0.0, 0.5]
    assert content["best_detections"]["correct"] == 1 and content["best_detections"]["background"] == 1
    assert max(at) == pytest.approx(2.0, abs=0.2)  # no class has more


def test_a_group_is_the_mean_of_its_classes():
    scene = scene_of(
        [(1, 1, [0, 0, 10, 10]), (1, 2, [50, 0, 60, 10]), (1, 2, [50, 50, 60, 60])],
        make_record(1, (1, 0.9, [0, 0, 10, 10]), (2, 0.8, [200, 0, 210, 10])),
    )
    (trend,) = false_positive_trends(scene, find_groups(["a", "b"])).values()
    assert trend.shares[KINDS.index("correct")].tolist() == [0.5] * len(trend.multiples)
    assert trend.recall[-1] == 0.5  # all of a, none of b


def test_classes_without_objects_and_without_detections():
    assert (
        false_positive_trends(scene_of([], make_record(1, (1, 0.9, [0, 0, 1, 1])), images=[1]), find_groups("ab")) == {}
    )
    (trend,) = false_positive_trends(scene_of([(1, 1, [0, 0, 10, 10])]), find_groups("ab")).values()
    assert not trend.shares.any() and not trend.recall.any() and len(trend.lengths) == 0
