"""The parts of a run's data: found, opened, or held out of the training images."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import CSVDetection, VOCFolderDetection, YOLODetection, build_dataset
from ..data.dataset import DetectionDataset
from ..data.holdout import stratified_holdout
from ..data.image_files import expand_home
from ..data.layouts import Format, coco_file_names, detect_format, find_image_dir, find_part, find_parts, is_voc_layout
from ..data.voc_files import Unannotated
from .config import DataConfig, SplitConfig

logger = logging.getLogger(__name__)


def open_training(config: DataConfig) -> tuple[DetectionDataset, DetectionDataset]:
    """The data sets of "train" and "val", with the same classes. val may have no objects. Logs no problems: those are
    for `refinedet.data.summary.describe`, once."""
    source = find_source(config, "train")
    if source.holdout is not None:
        train, val = _cut(config, source, None, quiet=True)
    else:
        train = _open(config, source, "train", None, quiet=True)
    _check_annotated(train, "train")
    _check_objects(train, "train", False)
    if source.holdout is None:
        val = _open(config, find_source(config, "val"), "val", train.class_names, quiet=True)
    _check_annotated(val, "val")
    _check_objects(val, "val", True)
    return train, val


def open_parts(config: DataConfig) -> dict[str, DetectionDataset]:
    """The parts that a data set has: train and val as for a training, and test where there is one of its own."""
    train, val = open_training(config)
    parts = {"train": train, "val": val}
    source = find_source(config, "test")
    if source.holdout is None and source != find_source(config, "val"):
        parts["test"] = _open(config, source, "test", train.class_names, unannotated="auto", quiet=True)
    return parts


def open_split(
    config: DataConfig,
    part: str,
    classes: list[str] | None = None,
    *,
    allow_empty: bool = False,
    unannotated: Unannotated = "skip",
    quiet: bool = False,
) -> DetectionDataset:
    """The data set of "train", "val" or "test"; test falls back on val where it is empty, val on images held out of
    train.

    classes: the names that the labels must stand for, such as those of the training part; a part may lack some.
    allow_empty: take a part without any object. One whose objects are all of other classes is refused all the same.
    unannotated: images without annotations of VOC's layout, see `VOCDetection`; other than with "skip", a part without
    any annotations is taken, to predict on.
    quiet: do not log what is wrong with the annotations.
    """
    source = find_source(config, part)
    if source.holdout is None:
        dataset = _open(config, source, part, classes, unannotated=unannotated, quiet=quiet)
    else:
        dataset = _cut(config, source, classes, quiet=quiet)[0 if part == "train" else 1]
    if unannotated == "skip":
        _check_annotated(dataset, part)
    if dataset.annotated:
        _check_objects(dataset, part, allow_empty)
    return dataset


@dataclass(frozen=True)
class Source:
    """Where a part lies: the arguments of SplitConfig in effect, and the part that they were given for. holdout: it is
    a share of the training part."""

    format: Format
    root: Path | None
    arguments: dict[str, Any]
    given_for: str
    holdout: float | None = None


def find_source(config: DataConfig, part: str) -> Source:
    config, root = _with_root(config)
    format = _format(config, part, root)
    given = {name: _given(getattr(config, name)) for name in ("train", "val", "test")}
    if part == "test" and not given["test"]:
        found = None if given["val"] or root is None else find_part(format, root, "test")
        if found:
            return Source(format, root, found, "test")
        part = "val"
    if given[part]:
        holdout = part == "train" and _holds_out(config, format, root, given)
        return Source(format, root, given[part], part, config.val_fraction if holdout else None)
    nothing = {"voc": "split", "yolo": "split", "csv": "annotation_file", "coco": "image_dir and annotation_file"}
    train = given["train"] or (find_part(format, root, "train") if root is not None else None)
    if train is None:
        raise ValueError(f"data.{part}: expected {nothing[format]}, got nothing")
    if part == "val" and not _holds_out(config, format, root, given):
        found = find_part(format, root, "val") if root is not None else None
        if not found:
            raise ValueError(
                f"data.val: expected {nothing[format]}, got nothing; data.val_fraction would hold out training images"
            )
        return Source(format, root, found, "val")
    holdout = _holds_out(config, format, root, given)
    return Source(format, root, train, "train", config.val_fraction if holdout else None)


def _with_root(config: DataConfig) -> tuple[DataConfig, Path | None]:
    """The folder of the data. A table or a COCO file in its place is the annotation file of the training part."""
    if config.root is None:
        return config, None
    root = expand_home(config.root)
    if not root.exists():
        raise FileNotFoundError(f"data.root: no such folder: {root}")
    if not root.is_file() or root.suffix.lower() not in (".csv", ".json"):
        return config, root
    for part in ("train", "val", "test"):
        if _given(getattr(config, part)):
            raise ValueError(f"data.root: expected a folder beside data.{part}, got the file {root}")
    train = SplitConfig(annotation_file=str(root.absolute()))
    return dataclasses.replace(config, train=train, root=str(root.parent)), root.parent


def _holds_out(config: DataConfig, format: Format, root: Path | None, given: dict[str, dict[str, Any]]) -> bool:
    """Whether there is no val of the data's own. One that was found goes with the train that was found: another train
    may hold its images."""
    if given["val"] or config.val_fraction is None:
        return False
    if root is None:
        return True
    train = find_parts(format, root, "train")
    usual = not given["train"] or (len(train) == 1 and train[0].items() <= given["train"].items())
    return not (usual and find_part(format, root, "val"))


def _format(config: DataConfig, part: str, root: Path | None) -> Format:
    if config.format != "auto":
        return config.format
    file = getattr(config, part).annotation_file or config.val.annotation_file or config.train.annotation_file
    if file is not None:
        return "csv" if file.lower().endswith(".csv") else "coco"
    if root is None:
        raise ValueError("data.root: expected the folder of the data set, got nothing")
    return detect_format(root)


def _given(split: SplitConfig) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(split).items() if value is not None}


def _open(
    config: DataConfig,
    source: Source,
    part: str,
    classes: list[str] | None,
    *,
    unannotated: Unannotated = "skip",
    quiet: bool,
) -> DetectionDataset:
    """All of the images of a source. `part` decides what becomes of difficult objects and crowds."""
    root, given = source.root, source.arguments
    names = classes if classes is not None else config.classes
    _check_arguments(source)
    common: dict[str, Any] = {
        "on_error": config.on_error,
        "orientation": config.orientation,
        "cache_images": config.cache_images,
        "quiet": quiet,
    }
    use_difficult = True if config.use_difficult is None or part != "train" else config.use_difficult
    if source.format == "voc" and root is not None and root.is_dir() and not is_voc_layout(root):
        names = names or "auto"
        return VOCFolderDetection(root, given.get("split"), classes=names, use_difficult=use_difficult, **common)
    if source.format == "voc":
        if config.format == "auto":
            names = names or "auto"
        extra = [(r, name) for r, name in given.get("extra_parts", [])] or None
        given = {**given, "extra_parts": extra}
        options = {"use_difficult": use_difficult, "unannotated": unannotated, **common}
        return build_dataset("voc", root=root, **given, classes=names, **options)
    if source.format == "yolo":
        if root is None:
            raise ValueError("data.root: expected the folder of the YOLO data set, got nothing")
        return YOLODetection(root, given.get("split"), classes=names or "auto", **common)
    base = root or Path()
    if "annotation_file" not in given:
        raise ValueError(f"data.{source.given_for}.annotation_file: expected a file, got nothing")
    file = base / expand_home(given["annotation_file"])
    if source.format == "csv":
        folder = base / expand_home(given["image_dir"]) if "image_dir" in given else None
        return CSVDetection(file, folder, classes=names or "auto", **common)
    if "image_dir" not in given:
        of = "train" if source.holdout is not None else part  # held-out images lie among those to train on
        given = {**given, "image_dir": str(find_image_dir(base, file, coco_file_names(file), of).absolute())}
    return build_dataset(
        "coco",
        root=base,
        **given,
        classes=names,
        missing_classes=None if classes is None else "allow",
        # COCO's metrics ignore detections on crowds, so they have to be there.
        drop_crowd=None if part == "train" else False,
        **common,
    )


def _check_arguments(source: Source) -> None:
    """ValueError for an argument that the format has no use for."""
    root = source.root
    kind: str = source.format
    if kind == "voc" and root is not None and root.is_dir() and not is_voc_layout(root):
        kind = "voc folders"
    known = _ARGUMENTS[kind]
    for name, value in source.arguments.items():
        if name not in known:
            raise ValueError(
                f"data.{source.given_for}.{name}: {_KINDS[kind]} has {' and '.join(known)} instead, got {value!r}"
            )


_KINDS = {
    "voc": "VOC's layout",
    "voc folders": "VOC files in plain folders",
    "yolo": "YOLO",
    "csv": "a CSV table",
    "coco": "COCO",
}
_ARGUMENTS = {
    "voc": ("split", "extra_parts"),
    "voc folders": ("split",),
    "yolo": ("split",),
    "csv": ("annotation_file", "image_dir"),
    "coco": ("annotation_file", "image_dir"),
}


def _cut(
    config: DataConfig, source: Source, classes: list[str] | None, *, quiet: bool
) -> tuple[DetectionDataset, DetectionDataset]:
    """Train and val where val is a share of the training images. Which ones does not depend on the options of a part,
    nor on the classes that are asked for."""
    assert source.holdout is not None
    whole = _open(config, source, "val", None, quiet=quiet or classes is not None)
    held = stratified_holdout(whole.table, source.holdout, config.split_seed, whole.class_names)
    if classes is not None and classes != whole.class_names:
        chosen = {image_id for image_id, is_held in zip(whole.image_ids, held, strict=True) if is_held}
        whole = _open(config, source, "val", classes, quiet=quiet)
        held = np.array([image_id in chosen for image_id in whole.image_ids])
    elif classes is not None and not quiet:
        whole.log_report()
    _check_annotated(whole, "train")
    _check_objects(whole, "train", False)  # its report also says what was skipped
    if source.format == "coco":
        kept, reason = ~whole.table.crowd, "crowd"
    else:
        kept, reason = ~whole.table.difficult | (config.use_difficult is not False), "difficult"
    share = f"{source.holdout:.0%} held out for validation with seed {config.split_seed}"
    train = whole.subset(np.flatnonzero(~held).tolist(), f"without {share}", objects=kept, reason=reason)
    val = whole.subset(np.flatnonzero(held).tolist(), f"the {share}")
    for part in (train, val):
        part.holdout = {"val_fraction": source.holdout, "split_seed": config.split_seed}
    return train, val


def _check_annotated(dataset: DetectionDataset, part: str) -> None:
    """ValueError for a part to predict on where one is to learn from or to measure."""
    if not dataset.annotated:
        raise ValueError(
            f"data.{part}: expected images with annotations, got {dataset.report.source}, which only lists images; "
            "refinedet eval predicts on it as data.test"
        )


def _check_objects(dataset: DetectionDataset, part: str, allow_empty: bool) -> None:
    """ValueError for a part without an object of its classes."""
    found = dataset.report.found
    if len(dataset.table.labels) or (allow_empty and not found):
        return
    names = ", ".join(f"{name} ({count})" for name, count in found.most_common(20)) or "no objects at all"
    raise ValueError(
        f"data.{part}: expected objects of the classes {', '.join(dataset.class_names[:20])}, got none; the "
        f"annotations have {names}\n{dataset.report.summary()}"
    )


def write_holdout(train: DetectionDataset, val: DetectionDataset, path: Path) -> None:
    """Which images of a data set were held out, where they were."""
    if val.holdout is not None:
        content = {**val.holdout, "train": train.image_ids, "val": val.image_ids}
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
