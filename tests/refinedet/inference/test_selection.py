from __future__ import annotations

import numpy as np
import pytest

from refinedet.inference.selection import lowest_scores

NAMES = ["RBC", "WBC", "Platelets"]


def test_one_for_all_and_some_by_name():
    assert lowest_scores(NAMES, 0.3, None).tolist() == [0.3, 0.3, 0.3]
    assert lowest_scores(NAMES, {"WBC": 0.9}, None).tolist() == [0.5, 0.9, 0.5]
    assert lowest_scores(NAMES, np.float32(0.25), None).tolist() == [0.25, 0.25, 0.25]


def test_wanted_classes():
    assert lowest_scores(NAMES, 0.3, ["RBC", "Platelets"]).tolist() == [0.3, np.inf, 0.3]
    assert lowest_scores(NAMES, {"WBC": 0.0}, "WBC").tolist() == [np.inf, 0.0, np.inf]


def test_classes_of_one_name_are_taken_together():
    assert lowest_scores(["a", "b", "a"], {"a": 0.1}, "a").tolist() == [0.1, np.inf, 0.1]


@pytest.mark.parametrize(
    ("threshold", "classes", "message"),
    [
        (1.5, None, "score_threshold: expected a number from 0 to 1, got 1.5"),
        (float("nan"), None, "score_threshold: expected a number from 0 to 1, got nan"),
        ({"RBC": -1}, None, r"score_threshold\['RBC'\]: expected a number from 0 to 1, got -1"),
        ({"RBB": 0.5}, None, "score_threshold: the model has no class 'RBB', but RBC, WBC, Platelets"),
        (0.5, ["RBC", "car"], "classes: the model has no class 'car', but RBC, WBC, Platelets"),
        (0.5, [], "classes: expected at least one of RBC, WBC, Platelets, got none"),
        ({"RBC": 0.5}, ["WBC"], "score_threshold: expected wanted classes, got 'RBC', which classes leaves out"),
    ],
)
def test_what_does_not_fit_is_named(threshold, classes, message):
    with pytest.raises(ValueError, match=message):
        lowest_scores(NAMES, threshold, classes)
