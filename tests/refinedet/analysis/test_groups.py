from __future__ import annotations

import pytest

from refinedet.analysis.groups import find_groups
from refinedet.data.voc import VOC_CLASSES


def test_voc():
    groups = find_groups(VOC_CLASSES)
    assert list(groups.members) == ["animals", "vehicles", "furniture", "others"]
    label = {name: i + 1 for i, name in enumerate(VOC_CLASSES)}
    assert groups.members["furniture"] == sorted(label[n] for n in ("chair", "diningtable", "sofa"))
    assert groups.members["others"] == sorted(label[n] for n in ("bottle", "pottedplant", "tvmonitor"))
    assert groups.similar[label["cat"], label["dog"]] and groups.similar[label["bird"], label["aeroplane"]]
    assert not groups.similar[label["cat"], label["cat"]] and not groups.similar[label["bottle"], label["tvmonitor"]]
    assert list(find_groups(["person", "car"]).members) == ["animals", "vehicles"]


def test_one_group_of_classes_that_nobody_knows():
    groups = find_groups(["RBC", "WBC"])
    assert groups.members == {"all": [1, 2]} and not groups.similar.any()


def test_supercategories():
    groups = find_groups(["oak", "cat", "elm"], supercategories={"oak": "tree", "cat": "animal", "elm": "tree"})
    assert groups.members == {"tree": [1, 3], "animal": [2]}
    assert groups.similar[1, 3] and not groups.similar[1, 2]
    alone = find_groups(["oak", "cat", "elm"], supercategories={"cat": "animal"})
    assert alone.members == {"others": [1, 3], "animal": [2]} and not alone.similar.any()
    same = find_groups(["oak", "elm"], supercategories={"oak": "trees", "elm": "trees"})
    assert same.members == {"all": [1, 2]} and not same.similar.any()


def test_given():
    groups = find_groups(["a", "b", "c", "d"], {"one": ["c", "a"]})
    assert groups.members == {"one": [1, 3], "others": [2, 4]}
    assert groups.similar[1, 3] and not groups.similar[2, 4] and groups.source == "as given"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "groups: expected class names by group, got none"),
        ({"one": []}, "groups.one: expected a list of classes"),
        ({"one": "a"}, "groups.one: expected a list of classes, got 'a'"),
        ({"one": 3}, "groups.one: expected a list of classes, got 3"),
        ({"one": ["x"]}, "groups.one: expected classes out of a, b, got 'x'"),
        ({"one": ["a"], "two": ["b", "a"]}, "groups.two: a is in one already"),
        ({"others": ["a"]}, "groups.others: expected all classes that are in no other group, b is missing"),
    ],
)
def test_groups_that_do_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        find_groups(["a", "b"], given)
