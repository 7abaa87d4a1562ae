from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from refinedet.losses import class_weights_from_counts, count_labels

PERSON, HAIR_DRIER = 273_468, 209  # the most and the least frequent class of COCO's train2017


@pytest.mark.parametrize(
    ("count", "weight"), [(100_000, 1.047), (10_000, 1.455), (2_000, 2.62), (1_000, 3.753), (500, 5.659)]
)
def test_values_for_coco(count, weight):
    first, got, last = class_weights_from_counts([PERSON, count, HAIR_DRIER])
    assert (first, last) == (1.0, pytest.approx(10.0))
    assert got == pytest.approx(weight, abs=6e-4)


def test_by_hand():
    # r = 1, 16, 4; square roots 1, 4, 2; (W - 1) / 3 = 2 per unit
    assert class_weights_from_counts([160, 10, 40], largest=7, gamma=0.5) == pytest.approx([1, 7, 3])
    # gamma 1: linear in r
    assert class_weights_from_counts([12, 4, 6], largest=5, gamma=1) == pytest.approx([1, 5, 3])


def test_reductions():
    assert class_weights_from_counts([5, 100, 30], largest=1) == [1, 1, 1]
    assert class_weights_from_counts([7, 7]) == [1, 1]
    assert class_weights_from_counts([7]) == [1]


def test_classes_without_boxes_get_the_largest_and_leave_the_others_alone():
    full = class_weights_from_counts([160, 10, 40])
    assert class_weights_from_counts([160, 0, 10, 40]) == [full[0], 10, full[1], full[2]]
    assert class_weights_from_counts([7, 0]) == [1, 10]
    assert class_weights_from_counts([0, 0]) == [1, 1]


def test_counting_leaves_crowds_out():
    table = SimpleNamespace(labels=np.array([1, 3, 3, 1, 3]), crowd=np.array([0, 0, 1, 0, 0], dtype=bool))
    assert count_labels(SimpleNamespace(table=table, class_names=["a", "b", "c", "d"])) == [2, 0, 2, 0]


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ([], {}, "counts: expected one for each class, got none"),
        ([1, -1], {}, "counts: expected an integer of at least 0, got -1"),
        ([1.5], {}, "counts: expected an integer of at least 0, got 1.5"),
        ([1], {"largest": 0.5}, "class_weight_largest: expected a number from 1 to 1000000.0, got 0.5"),
        ([1], {"gamma": 0}, "class_weight_gamma: expected a number from 1e-06 to 100, got 0"),
    ],
)
def test_wrong_values_are_named(counts, options, message):
    with pytest.raises(ValueError, match=message):
        class_weights_from_counts(counts, **options)
