"""Images in a folder for each class, as ImageNet is laid out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from ..data.image_files import expand_home, is_image_name, walk
from ..data.image_io import read_image
from ..structures import Sample
from .config import FolderConfig


class Entry(NamedTuple):
    """An image without its pixels. image_id: its path in the folder of its part."""

    image_id: str


class ImageFolder(Dataset[Sample]):
    """Labelled images. A sample has one object, which fills the image and whose label, from 1 on, is its class.

    names: paths of the images in the folder `root`. labels: (N,) int64 in 1..C. class_names: the C classes. on_error:
    see `FolderConfig`.
    """

    def __init__(
        self,
        names: Sequence[str],
        labels: np.ndarray,
        class_names: Sequence[str],
        *,
        root: Path,
        on_error: Literal["skip", "raise"] = "skip",
    ) -> None:
        # arrays and not lists: a forked worker would copy the memory of every object that it counts; bytes and not
        # letters, which take four each
        self.names = np.array([os.fsencode(name) for name in names])
        self.labels = labels
        self.class_names = list(class_names)
        self.root = root
        self.on_error = on_error

    def __len__(self) -> int:
        return len(self.labels)

    def record(self, index: int) -> Entry:
        """What is known of an image without reading it."""
        return Entry(os.fsdecode(self.names[index]))

    def __getitem__(self, index: int) -> Sample:
        """ImageReadError or OSError for a file that cannot be read."""
        return self._sample(index, read_image(self._path(index), apply_orientation=True))

    def blank(self, index: int) -> Sample:
        """The label of an image on black, for where its file cannot be read."""
        return self._sample(index, np.zeros((1, 1, 3), np.uint8))

    def subset(self, indices: np.ndarray) -> ImageFolder:
        """Some of the images, in the given order."""
        names = [os.fsdecode(name) for name in self.names[indices]]
        return ImageFolder(names, self.labels[indices], self.class_names, root=self.root, on_error=self.on_error)

    def _path(self, index: int) -> Path:
        return self.root / self.record(index).image_id

    def _sample(self, index: int, image: np.ndarray) -> Sample:
        height, width = image.shape[:2]
        return Sample(
            image=image,
            boxes=np.array([[0, 0, width, height]], np.float32),
            labels=self.labels[index : index + 1],
            difficult=np.zeros(1, bool),
            crowd=np.zeros(1, bool),
            image_id=self.record(index).image_id,
            path=str(self._path(index)),
            original_size=(width, height),
        )


def open_folder(config: FolderConfig) -> tuple[ImageFolder, ImageFolder]:
    """The images to train on and those to measure on, of the same classes.

    FileNotFoundError without the folder; ValueError for one that has no classes, a class without an image, a part val
    without train or the other way round, or other classes in val.
    """
    if config.root is None:
        raise ValueError("data.root: expected the folder of the images, got none")
    root = expand_home(config.root)
    if not root.is_dir():
        raise FileNotFoundError(f"data.root: no such folder: {root}")
    parts = [name for name in ("train", "val") if (root / name).is_dir()]
    if len(parts) == 1:
        raise ValueError(f"data.root: expected both train and val in {root}, got {parts[0]} alone")
    if not parts:
        return _hold_out(_read(root, config), config)
    train, val = (_read(root / name, config) for name in parts)
    if train.class_names != val.class_names:
        lacking = sorted(set(train.class_names) ^ set(val.class_names))
        raise ValueError(f"data.root: expected the same classes in train and val of {root}, one part lacks {lacking}")
    return train, val


def _read(folder: Path, config: FolderConfig) -> ImageFolder:
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise ValueError(f"data.root: expected a folder for each of 2 or more classes in {folder}, got {classes}")
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes, start=1):
        found = [path.relative_to(folder).as_posix() for path in walk(folder / name) if is_image_name(path)]
        if not found:
            raise ValueError(f"data.root: no image of the class {name!r} in {folder / name}")
        names += found
        labels += [label] * len(found)
    return ImageFolder(names, np.array(labels, np.int64), classes, root=folder, on_error=config.on_error)


def _hold_out(whole: ImageFolder, config: FolderConfig) -> tuple[ImageFolder, ImageFolder]:
    """The share of every class that is trained on, and that which is held out; at least one image in each."""
    held = np.zeros(len(whole), bool)
    rng = np.random.default_rng(config.split_seed)
    for label, name in enumerate(whole.class_names, start=1):
        members = rng.permutation(np.flatnonzero(whole.labels == label))
        if len(members) < 2:
            raise ValueError(f"data.val_fraction: expected 2 or more images of the class {name!r}, got {len(members)}")
        count = min(len(members) - 1, max(1, round(config.val_fraction * len(members))))
        held[members[:count]] = True
    return whole.subset(np.flatnonzero(~held)), whole.subset(np.flatnonzero(held))
