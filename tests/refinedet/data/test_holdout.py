from __future__ import annotations

import numpy as np
import pytest

from refinedet.data.annotations import AnnotationTable, ImageRecord
from refinedet.data.holdout import stratified_holdout


def table_of(labels: list[list[int]], order: np.ndarray | None = None) -> AnnotationTable:
    def record(index: int) -> ImageRecord:
        found = np.array(labels[index], np.int64)
        none = np.zeros(len(found), bool)
        boxes = np.tile([0.0, 0.0, 9.0, 9.0], (len(found), 1))
        return ImageRecord(f"i{index}", f"{index}.jpg", (10, 10), boxes, found, none, none, np.full(len(found), 81.0))

    return AnnotationTable.from_records([record(i) for i in (range(len(labels)) if order is None else order.tolist())])


def random_labels(count: int) -> list[list[int]]:
    rng = np.random.default_rng(3)
    shares = (0.9, 0.3, 0.1, 0.04)
    return [[c for c, share in enumerate(shares, 1) if rng.random() < share] for _ in range(count)]


def test_every_class_gives_its_share() -> None:
    labels = random_labels(500)
    held = stratified_holdout(table_of(labels), 0.2, 0, "abcd")
    assert 90 <= held.sum() <= 110
    for label in (1, 2, 3, 4):
        having = np.array([label in found for found in labels])
        assert abs((held & having).sum() - 0.2 * having.sum()) <= max(1.0, 0.03 * having.sum()), label
    empty = np.array([not found for found in labels])
    assert abs((held & empty).sum() - 0.2 * empty.sum()) <= 1


def test_neither_the_order_nor_the_labels_numbers_matter_but_the_seed_does() -> None:
    labels = random_labels(100)
    held = stratified_holdout(table_of(labels), 0.2, 0, "abcd")
    order = np.random.default_rng(0).permutation(100)
    assert (stratified_holdout(table_of(labels, order), 0.2, 0, "abcd") == held[order]).all()
    renamed = [[5 - label for label in found] for found in labels]
    assert (stratified_holdout(table_of(renamed), 0.2, 0, "dcba") == held).all()
    assert (stratified_holdout(table_of(labels), 0.2, 1, "abcd") != held).any()


@pytest.mark.parametrize(("count", "fraction"), [(2, 0.01), (2, 0.99), (3, 0.2)])
def test_one_image_stays_on_each_side(count: int, fraction: float) -> None:
    held = stratified_holdout(table_of([[1]] * count), fraction, 0, "a")
    assert 0 < held.sum() < count


def test_refuses() -> None:
    with pytest.raises(ValueError, match="val_fraction: expected at least 2 images to split, got 1"):
        stratified_holdout(table_of([[1]]), 0.2, 0, "a")
    with pytest.raises(ValueError, match="val_fraction: expected a number between 0 and 1, got 1"):
        stratified_holdout(table_of([[1], [1]]), 1, 0, "a")
