from __future__ import annotations

from refinedet.analysis.confusion import confusion_matrix

from ..evaluation.scenes import make_record
from .test_matching import scene_of

SCENE = scene_of(
    [
        (1, 1, [0, 0, 10, 10]),
        (1, 2, [50, 0, 60, 10]),
        (1, 2, [100, 0, 110, 10]),
        (1, 1, [200, 0, 210, 10], {"difficult": 1}),
    ],
    make_record(
        1,
        (2, 0.9, [0, 0, 10, 10]),  # b on an object of a that the next one finds: nothing is left for it
        (1, 0.8, [0, 0, 10, 9]),
        (1, 0.7, [50, 0, 60, 10]),  # a on an object of b
        (1, 0.6, [200, 0, 210, 10]),  # on what is difficult
        (2, 0.3, [100, 0, 110, 10]),
    ),
)


def test_by_hand():
    assert confusion_matrix(SCENE, 0.5).counts.tolist() == [
        [1, 0, 0],  # a: found
        [1, 0, 1],  # b: one taken for a, one missed
        [0, 1, 0],  # the background: once taken for b
    ]
    assert confusion_matrix(SCENE, 0.3).counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 0]]


def test_a_threshold_above_everything():
    assert confusion_matrix(SCENE, 0.95).counts.tolist() == [[0, 0, 1], [0, 0, 2], [0, 0, 0]]


def test_above_the_threshold_a_wrong_class_takes_what_is_free():
    """The right detection lies below the threshold, so that the wrong one has the object."""
    assert confusion_matrix(SCENE, 0.85).counts.tolist() == [[0, 1, 0], [0, 0, 2], [0, 0, 0]]


def test_nothing_at_all():
    assert not confusion_matrix(scene_of([], images=[1]), 0.5).counts.any()
