from __future__ import annotations

from refinedet.data import COCO_CLASSES, VOC_CLASSES
from refinedet.transfer import VOC_IN_COCO

# label of PASCAL VOC's classes among COCO's, from the code that made RefineDet's VOC models out of its COCO models
ROWS = (5, 2, 15, 9, 40, 6, 3, 16, 57, 20, 61, 17, 18, 4, 1, 59, 19, 58, 7, 63)


def test_there_are_eighty_of_different_names():
    assert len(COCO_CLASSES) == len(set(COCO_CLASSES)) == 80
    assert (COCO_CLASSES[0], COCO_CLASSES[-1]) == ("person", "toothbrush")
    assert all(name == " ".join(name.split()) for name in COCO_CLASSES)


def test_vocs_classes_stand_where_the_original_code_has_them():
    for name, label in zip(VOC_CLASSES, ROWS, strict=True):
        assert COCO_CLASSES[label - 1] == VOC_IN_COCO.get(name, name)
