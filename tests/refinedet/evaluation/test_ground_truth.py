"""COCO dictionaries as ground truth: class order, defaults, and every entry that is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from refinedet.evaluation import GroundTruth, ResultsError

from .scenes import make_truth

OBJECTS = [
    ("p", 1, [10, 20, 40, 60], {"iscrowd": 1}),
    ("q", 2, [0, 0, 10, 10], {"difficult": True, "area": 60}),
]


def _source():
    return make_truth(OBJECTS, images=["p", "empty", "q"], names=("cat", "dog"))


def test_arrays_of_a_data_set():
    truth = GroundTruth.load(_source())
    assert truth.image_ids == ["p", "empty", "q"] and len(truth) == 2
    np.testing.assert_array_equal(truth.image_index, [0, 2])
    np.testing.assert_array_equal(truth.boxes, [[10, 20, 40, 60], [0, 0, 10, 10]])
    np.testing.assert_array_equal(truth.area, [1200, 60])
    np.testing.assert_array_equal(truth.crowd, [True, False])
    np.testing.assert_array_equal(truth.difficult, [False, True])


def test_labels_follow_the_class_names_given():
    source = _source()
    source["categories"] = [{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}]
    truth = GroundTruth.load(source)
    assert (truth.class_names, truth.category_ids) == (["dog", "cat"], [2, 1])
    np.testing.assert_array_equal(truth.labels, [2, 1])
    truth = GroundTruth.load(source, ["cat", "dog"])
    assert (truth.class_names, truth.category_ids) == (["cat", "dog"], [1, 2])
    np.testing.assert_array_equal(truth.labels, [1, 2])


def test_itself_and_a_subset():
    truth = GroundTruth.load(_source())
    assert GroundTruth.load(truth) is truth
    with pytest.raises(ResultsError, match="class_names: expected .'cat', 'dog'., got .'dog'."):
        GroundTruth.load(truth, ["dog"])
    part = truth.subset(["q", "empty"])
    assert part.image_ids == ["empty", "q"]
    np.testing.assert_array_equal(part.image_index, [1])
    np.testing.assert_array_equal(part.labels, [2])
    assert truth.subset([]).image_ids == []
    with pytest.raises(ResultsError, match="image_ids: no such image 'z'"):
        truth.subset(["z"])


@pytest.mark.parametrize(
    ("where", "change", "message"),
    [
        (("annotations", 1), {"image_id": "z"}, r"annotations\[1\]: image_id: no such image 'z'"),
        (("annotations", 1), {"category_id": 9}, r"annotations\[1\]: category_id: no such class 9"),
        (("annotations", 0), {"bbox": [0, 0, -1, 5]}, r"annotations\[0\]: bbox: expected"),
        (("annotations", 0), {"area": -1}, r"annotations\[0\]: area: expected a number >= 0"),
        (("annotations", 0), {"area": "big"}, r"annotations\[0\]: area: expected .* got 'big'"),
        (("annotations", 0), {"iscrowd": 2}, r"annotations\[0\]: iscrowd: expected 0 or 1, got 2"),
        (("annotations", 0), {"difficult": "no"}, r"difficult: expected 0 or 1, got 'no'"),
        (("images", 2), {"id": "p"}, r"images\[2\]: id 'p' comes twice, first at 0"),
        (("images", 2), {"id": 1.5}, r"images\[2\]: id: expected an integer or a string"),
        (("categories", 1), {"id": 1}, r"categories\[1\]: id 1 comes twice"),
        (("categories", 1), {"id": "x"}, r"categories\[1\]: id: expected an integer, got 'x'"),
        (("categories", 1), {"name": "cat"}, r"categories\[1\]: name 'cat' comes twice"),
    ],
)
def test_a_bad_entry_is_named(where, change, message):
    source = copy.deepcopy(_source())
    source[where[0]][where[1]].update(change)
    with pytest.raises(ResultsError, match=f"ground truth: .*{message}"):
        GroundTruth.load(source)


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(ResultsError, match="expected an object with images.* got list"):
        GroundTruth.load([])
    with pytest.raises(ResultsError, match="expected a list under 'annotations', has"):
        GroundTruth.load({"images": [], "categories": []})
    source = _source()
    del source["annotations"][1]["bbox"]
    with pytest.raises(ResultsError, match=r"annotations\[1\]: bbox missing, has"):
        GroundTruth.load(source)
    source = _source()
    source["images"][0] = "p.jpg"
    with pytest.raises(ResultsError, match=r"images\[0\]: expected an object, got str"):
        GroundTruth.load(source)
    with pytest.raises(ResultsError, match=r"no category named 'cow', has \['cat', 'dog'\]"):
        GroundTruth.load(_source(), ["cat", "cow"])
    with pytest.raises(ResultsError, match="class_names: expected distinct names"):
        GroundTruth.load(_source(), ["cat", "cat"])
    path = tmp_path / "truth.json"
    path.write_text("{")
    with pytest.raises(ResultsError, match=r"truth\.json: not a JSON file"):
        GroundTruth.load(path)
