from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from refinedet.classification.config import FolderConfig
from refinedet.classification.folder import open_folder
from refinedet.data.image_io import ImageReadError


def test_parts_with_a_folder_for_every_class(images: Path) -> None:
    train, val = open_folder(FolderConfig(root=str(images)))
    assert train.class_names == val.class_names == ["blue", "green", "red"]
    assert train.labels.tolist() == [1] * 8 + [2] * 8 + [3] * 8 and len(val) == 9
    sample = train[8]
    sample.check()
    assert sample.labels.tolist() == [2] and sample.image_id == "green/0.png"
    assert sample.boxes.tolist() == [[0, 0, *sample.size]] and sample.image[..., 1].mean() > 150
    assert train.blank(8).labels.tolist() == [2]


def test_a_share_of_every_class_is_held_out_where_there_are_no_parts(images: Path) -> None:
    config = FolderConfig(root=str(images / "train"), val_fraction=0.25)
    train, val = open_folder(config)
    assert np.bincount(val.labels).tolist() == [0, 2, 2, 2] and len(train) == 18
    assert not set(train.names) & set(val.names)
    again = open_folder(config)[1]
    other = open_folder(FolderConfig(root=str(images / "train"), val_fraction=0.25, split_seed=1))[1]
    assert again.names.tolist() == val.names.tolist() != other.names.tolist()
    least = open_folder(FolderConfig(root=str(images / "train"), val_fraction=0.001))[1]
    assert np.bincount(least.labels).tolist() == [0, 1, 1, 1]


def test_a_file_that_is_no_image(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "bad")
    (tmp_path / "bad/train/blue/0.png").write_bytes(b"nothing")
    train, _ = open_folder(FolderConfig(root=str(tmp_path / "bad")))
    with pytest.raises(ImageReadError, match=r"blue/0\.png"):
        train[0]


def without(*names: str):
    def change(root: Path) -> None:
        for name in names:
            shutil.rmtree(root / name)

    return change


def empty(name: str):
    def change(root: Path) -> None:
        shutil.rmtree(root / name)
        (root / name).mkdir()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("val"), "expected both train and val in .*, got train alone"),
        (without("val/red"), r"expected the same classes in train and val of .*, one part lacks \['red'\]"),
        (without("train/red", "train/green"), r"a folder for each of 2 or more classes in .*train, got \['blue'\]"),
        (empty("train/red"), "no image of the class 'red' in "),
        (without("train", "val"), r"a folder for each of 2 or more classes in .*, got \[\]"),
    ],
)
def test_folders_that_are_refused(images: Path, tmp_path: Path, change, message: str) -> None:
    shutil.copytree(images, tmp_path / "bad")
    change(tmp_path / "bad")
    with pytest.raises(ValueError, match=f"data.root: {message}" if "expected" in message else message):
        open_folder(FolderConfig(root=str(tmp_path / "bad")))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="data.root: no such folder"):
        open_folder(FolderConfig(root=str(tmp_path / "none")))
    with pytest.raises(ValueError, match="data.root: expected the folder of the images, got none"):
        open_folder(FolderConfig())
