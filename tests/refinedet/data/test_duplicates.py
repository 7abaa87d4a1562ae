from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from refinedet.data import read_image
from refinedet.data.duplicates import Fingerprint, copies_between, find_duplicates, fingerprint


def picture(seed: int) -> np.ndarray:
    """Something with shapes in it, (120, 160, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)


def prints_of(folder: Path, images: dict[str, np.ndarray]) -> list[Fingerprint]:
    found = []
    for name, image in images.items():
        assert cv2.imwrite(str(folder / name), image)
        found.append(fingerprint(folder / name, read_image(folder / name)))
    return found


def test_copies_of_a_file_and_of_a_picture(tmp_path: Path) -> None:
    one = picture(1)
    images = {
        "one.png": one,
        "other.png": picture(2),
        "same.png": one,  # the same bytes
        "resized.png": cv2.resize(one, (320, 200)),
        "compressed.jpg": one,
        "brighter.png": cv2.convertScaleAbs(one, alpha=1.0, beta=8),
        "mirrored.png": one[:, ::-1],
    }
    found = find_duplicates(prints_of(tmp_path, images))
    assert found.exact == [(0, 2)]
    assert sorted(found.near) == [(0, 3), (0, 4), (0, 5), (3, 4), (3, 5), (4, 5)]


def test_pictures_that_are_alike_but_not_the_same(tmp_path: Path) -> None:
    # Documents: pale, of the same layout, with other lines of text.
    images = {}
    rng = np.random.default_rng(0)
    for number in range(8):
        page = np.full((400, 300, 3), 250, np.uint8)
        for row in range(20, 380, 12):
            cv2.line(page, (20, row), (int(rng.integers(60, 280)), row), (40, 40, 40), 3)
        images[f"{number}.png"] = page
    assert find_duplicates(prints_of(tmp_path, images)).near == []


def test_without_images_and_with_one(tmp_path: Path) -> None:
    assert find_duplicates([]).exact == []
    assert find_duplicates(prints_of(tmp_path, {"a.png": picture(0)})).near == []


def test_beyond_one_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refinedet.data.duplicates._BLOCK", 3)
    images = {f"{i}.png": picture(i % 7) for i in range(7)}
    images["again.jpg"] = picture(1)
    assert find_duplicates(prints_of(tmp_path, images)).near == [(1, 7)]


def test_copies_are_counted_by_part() -> None:
    parts = ["train", "train", "val", "val", "test"]
    pairs = [(0, 1), (0, 2), (1, 2), (3, 4)]
    assert copies_between(pairs, parts) == {
        ("train", "train"): 1,
        ("train", "val"): 2,
        ("val", "train"): 1,
        ("val", "test"): 1,
        ("test", "val"): 1,
    }
