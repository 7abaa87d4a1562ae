"""Data sets in the layout of PASCAL VOC: JPEGImages, Annotations and ImageSets/Main."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..checks import check_choice
from .annotations import AnnotationTable, ImageRecord
from .box_checks import check_boxes, describe
from .checks import CheckImages, OnError, Orientation, check_class_names, check_options, settle_size
from .dataset import DetectionDataset
from .image_files import expand_home
from .report import AnnotationReport, ProblemKind
from .voc_files import Unannotated, VOCFile, VOCObject, read_parts

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)

Coordinates = Literal["as_given", "zero_based", "pixel_edges"]

# What is taken from (xmin, ymin, xmax, ymax).
_SHIFTS: dict[str, tuple[int, int, int, int]] = {
    "as_given": (0, 0, 0, 0),
    "zero_based": (1, 1, 1, 1),
    "pixel_edges": (1, 1, 0, 0),
}


class VOCDetection(DetectionDataset):
    """The images of a split of a VOC layout, or of several, with their objects.

    A split `train` of `root` lists its images in root/ImageSets/Main/train.txt, one id a line;
    image and annotation of an id are root/JPEGImages/<id>.jpg (or .jpeg, .png and whatever else
    OpenCV reads, in any case; the first of these where there are several) and
    root/Annotations/<id>.xml. The image_id of a sample is the id as a string, or "<part>:<id>" for
    a part beyond the first that repeats an id.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        extra_parts: Sequence[tuple[str | Path, str]] = (),
        classes: Sequence[str] | Literal["auto"] | None = None,
        ignore_classes: Sequence[str] = (),
        use_difficult: bool = True,
        coordinates: Coordinates = "as_given",
        unannotated: Unannotated = "skip",
        on_error: OnError = "skip",
        check_images: CheckImages = "header",
        trust_picture_size: bool = False,
        orientation: Orientation = "auto",
        cache_images: bool = False,
        quiet: bool = False,
    ) -> None:
        """Reads all annotations; images are read later, one by one.

        extra_parts: further (root, split) to append, as VOC 2012 to VOC 2007.
        classes: the foreground classes in order; None: the 20 of VOC; "auto": those that occur in
            these annotations, sorted by name (give a second split the class_names of the first).
        ignore_classes: classes to leave out on purpose; any other name is a problem.
        use_difficult: False leaves out the objects marked difficult; the original trains on them.
        coordinates: VOC counts pixels from 1, and pixels xmin to xmax all belong to the object.
            "as_given" takes the numbers as they are, as the original code trains; "zero_based"
            takes 1 from all four, as many ports do; "pixel_edges" takes 1 from xmin and ymin only,
            which is the exact outline.
        unannotated: what becomes of images without XML file, as those of a test server. "skip" reports and leaves them
            out; "auto" keeps all images where none has one; "keep" keeps all images where one or more have none. Images
            that are kept so have no objects, whatever XML files there are (VOC's test sets have some of persons for
            another task), and `annotated` is False.
        on_error: "skip" leaves out what is broken, reports it and logs a summary; "raise" refuses
            the data set with AnnotationError where anything is broken.
        check_images: "header" compares the size in every image's file with its annotation, and
            finds files that are no image or cut off; "exists" does not open them.
        trust_picture_size: where sizes disagree, keep the image and its own size; otherwise the
            image is skipped.
        orientation: photographs may have an EXIF tag that says how to turn them. "auto" follows the
            annotated size, and the tag where that fits both ways; "stored" takes no notice of the tag.
        cache_images: keep decoded images in memory.
        quiet: do not log the summary of the report.
        Raises FileNotFoundError for a missing folder or split; AnnotationError; ValueError.
        """
        check_options(on_error, check_images, orientation)
        check_choice(coordinates, "coordinates", tuple(_SHIFTS))
        check_choice(unannotated, "unannotated", ("skip", "auto", "keep"))
        parts = [(expand_home(r), s) for r, s in ((root, split), *extra_parts)]
        report = AnnotationReport("VOC " + " + ".join(f"{r} {s}" for r, s in parts))
        parsed = read_parts(parts, report, unannotated)
        if classes == "auto":
            ignored = set(ignore_classes)
            names = sorted({o.name for p in parsed for o in p.objects} - ignored)
            if not names:
                raise ValueError(f"classes: 'auto' found no object in {report.source}\n{report.summary()}")
        else:
            names = check_class_names(VOC_CLASSES if classes is None else classes)
            both = sorted(set(names) & set(ignore_classes))
            if both:
                raise ValueError(f"ignore_classes: {both[0]!r} is also among the classes")
        table = AnnotationTable.from_records(
            make_records(
                parsed,
                names,
                report,
                ignore_classes=frozenset(ignore_classes),
                use_difficult=use_difficult,
                coordinates=coordinates,
                check_images=check_images,
                trust_picture_size=trust_picture_size,
                orientation=orientation,
            )
        )
        super().__init__(
            table,
            names,
            range(1, len(names) + 1),
            report,
            annotated=not parsed or parsed[0].annotated,
            on_error=on_error,
            orientation=orientation,
            cache_images=cache_images,
            quiet=quiet,
        )


def discover_voc_classes(
    root: str | Path, split: str, *, extra_parts: Sequence[tuple[str | Path, str]] = ()
) -> dict[str, int]:
    """The class names in the annotations of a split, sorted, with the number of their objects.

    Files that cannot be read are passed over; VOCDetection reports them.
    """
    parts = [(expand_home(r), s) for r, s in ((root, split), *extra_parts)]
    parsed = read_parts(parts, AnnotationReport("classes"))
    return dict(sorted(Counter(o.name for p in parsed for o in p.objects).items()))


def make_records(
    parsed: Iterable[VOCFile],
    names: Sequence[str],
    report: AnnotationReport,
    *,
    ignore_classes: frozenset[str],
    use_difficult: bool,
    coordinates: Coordinates,
    check_images: CheckImages,
    trust_picture_size: bool,
    orientation: Orientation = "auto",
) -> list[ImageRecord]:
    """The checked annotations of parsed files, less the images that are of no use; problems go into the report."""
    label_of = {name: label for label, name in enumerate(names, 1)}
    records = []
    for file in parsed:
        report.found.update(item.name for item in file.objects)
        size = settle_size(
            file.image,
            file.size,
            file.annotation,
            report,
            check_images=check_images,
            trust_picture_size=trust_picture_size,
            orientation=orientation,
            needs_size=file.needs_size,
        )
        if size is None:
            continue
        objects = []
        for item in file.objects:
            if item.name in ignore_classes:
                report.excluded["class"] += 1
            elif item.name not in label_of:
                detail = f"class {item.name!r} is not among the {len(names)} classes"
                report.add(ProblemKind.UNKNOWN_CLASS, file.annotation, item.index, detail)
            elif item.difficult and not use_difficult:
                report.excluded["difficult"] += 1
            else:
                objects.append(item)
        records.append(_record(file, size, objects, label_of, report, coordinates))
    return records


def _record(
    file: VOCFile,
    size: tuple[int, int],
    objects: Sequence[VOCObject],
    label_of: dict[str, int],
    report: AnnotationReport,
    coordinates: Coordinates,
) -> ImageRecord:
    given = np.array([item.box for item in objects], np.float64).reshape(-1, 4)
    # A point stays a point: whether a box counts as one without area must not depend on the option.
    has_area = (given[:, :2] < given[:, 2:]).all(axis=1, keepdims=True)
    checked = check_boxes(given - has_area * np.array(_SHIFTS[coordinates]), np.array(size))
    for kind, rows in checked.problems.items():
        for row in rows:
            detail = describe(kind, given[row], size)
            report.add(kind, file.annotation, objects[row].index, detail)
    boxes = checked.boxes[checked.usable]
    kept = [item for item, usable in zip(objects, checked.usable, strict=True) if usable]
    return ImageRecord(
        image_id=file.image_id,
        path=str(file.image),
        original_size=size,
        boxes=boxes,
        labels=np.array([label_of[item.name] for item in kept], np.int64),
        difficult=np.array([item.difficult for item in kept], bool),
        crowd=np.zeros(len(kept), bool),
        areas=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
    )
