"""What the formats share whose objects carry class names: from files as read to a checked data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from .annotations import AnnotationTable
from .checks import CheckImages, OnError, Orientation, check_class_names, check_options
from .dataset import DetectionDataset
from .report import AnnotationReport
from .voc import Coordinates, make_records
from .voc_files import VOCFile


class FileDetection(DetectionDataset):
    """A data set of files that a reader has parsed; the formats beside VOC's and COCO's own derive from it."""

    def __init__(
        self,
        files: Sequence[VOCFile],
        report: AnnotationReport,
        *,
        classes: Sequence[str] | Literal["auto"],
        use_difficult: bool = True,
        coordinates: Coordinates = "as_given",
        on_error: OnError = "skip",
        check_images: CheckImages = "header",
        trust_picture_size: bool = False,
        orientation: Orientation = "auto",
        cache_images: bool = False,
        quiet: bool = False,
    ) -> None:
        """classes: the foreground classes in order; "auto": those of the objects, sorted by name. Others: as for
        VOCDetection."""
        check_options(on_error, check_images, orientation)
        if classes == "auto":
            names = sorted({item.name for file in files for item in file.objects})
            if not names:
                raise ValueError(f"classes: 'auto' found no object in {report.source}\n{report.summary()}")
        else:
            names = check_class_names(classes)
        records = make_records(
            files,
            names,
            report,
            ignore_classes=frozenset(),
            use_difficult=use_difficult,
            coordinates=coordinates,
            check_images=check_images,
            trust_picture_size=trust_picture_size,
            orientation=orientation,
        )
        table = AnnotationTable.from_records(records)
        categories = range(1, len(names) + 1)
        super().__init__(
            table,
            names,
            categories,
            report,
            on_error=on_error,
            orientation=orientation,
            cache_images=cache_images,
            quiet=quiet,
        )
