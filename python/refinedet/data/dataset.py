"""What all data sets share: checked annotations in memory, images read when asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from ..structures import ImageId, Sample
from .annotations import AnnotationTable, ImageRecord
from .checks import OnError, Orientation
from .image_io import ImageReadError, read_image, read_oriented
from .report import AnnotationError, AnnotationReport

logger = logging.getLogger(__name__)


class DetectionDataset(Dataset[Sample]):
    """Images with their objects. VOCDetection and COCODetection are the ones to use.

    class_names: the C foreground classes, label i is class_names[i - 1]. category_ids: the C ids
    that stand for them in COCO files. annotated: whether the images have ground truth. report: what
    was wrong with the annotations. Image i is sample i, in the order of the split or annotation
    file, less the images that were skipped.
    """

    def __init__(
        self,
        table: AnnotationTable,
        class_names: Sequence[str],
        category_ids: Sequence[int],
        report: AnnotationReport,
        *,
        annotated: bool = True,
        on_error: OnError = "skip",
        orientation: Orientation = "auto",
        cache_images: bool = False,
        quiet: bool = False,
    ) -> None:
        """annotated: whether it is known which objects the images have; False is a data set to predict on, as test
        servers have them. orientation: "auto" reads an image in the orientation that has its size in the table, as
        its EXIF tag turns it where both have; "stored" as it is stored. cache_images: keep every decoded image in
        memory, see `preload`. quiet: do not log the report's summary.

        Raises AnnotationError where the report holds a problem and on_error is "raise", and where
        no image is left.
        """
        self.table = table
        self.class_names = list(class_names)
        self.category_ids = list(category_ids)
        self.report = report
        self.origin = report  # of the data set that the files gave, also where this one is a part of it
        self.annotated = annotated
        self.on_error = on_error
        self.orientation = orientation
        self.holdout: dict[str, float] | None = None  # how it was cut out of a larger one
        self.supercategories: dict[str, str] = {}  # by class name, where the data has them
        self._cache: dict[int, np.ndarray] | None = {} if cache_images else None
        report.images, report.objects = len(table), len(table.labels)
        if on_error == "raise" and report.problems:
            raise AnnotationError(
                report, "annotations refused by on_error='raise'; 'skip' would do what stands in brackets:"
            )
        if not len(table):
            raise AnnotationError(report, "no image left:")
        if not quiet:
            self.log_report()

    def log_report(self) -> None:
        """Logs the summary of the report, where there is something to say."""
        if self.report.problems:
            logger.warning("%s", self.report.summary())
        elif self.report.excluded:
            logger.info("%s", self.report.summary())

    def subset(
        self, indices: Sequence[int], name: str, *, objects: np.ndarray | None = None, reason: str = "object"
    ) -> DetectionDataset:
        """A data set of some of the images, in the given order; what was wrong with the annotations stays with this
        one's report, which is the other's `origin`.

        objects: (N,) bool, which of the table's objects to keep; what is left out counts as excluded for `reason`.
        """
        table = self.table.select(indices, objects)
        report = AnnotationReport(f"{self.report.source}, {name}", found=self.report.found)
        left_out = len(self.table.select(indices).labels) - len(table.labels)
        if left_out:
            report.excluded[reason] = left_out
        made = DetectionDataset(
            table,
            self.class_names,
            self.category_ids,
            report,
            annotated=self.annotated,
            on_error=self.on_error,
            orientation=self.orientation,
            cache_images=self.caches_images,
            quiet=True,
        )
        made.origin = self.origin
        made.supercategories = self.supercategories
        return made

    @property
    def image_ids(self) -> list[ImageId]:
        """The id of every image, in order."""
        return list(self.table.image_ids)

    @property
    def caches_images(self) -> bool:
        """Whether decoded images are kept in memory."""
        return self._cache is not None

    def __len__(self) -> int:
        return len(self.table)

    def record(self, index: int) -> ImageRecord:
        """The annotations of an image, without reading it."""
        return self.table.record(self._check_index(index))

    def __getitem__(self, index: int) -> Sample:
        """Image and objects. The pixels are read-only where cache_images is on.

        Raises IndexError; FileNotFoundError or ImageReadError where the image went bad since the
        data set was made.
        """
        index = self._check_index(index)
        record = self.table.record(index)
        return _sample(record, self._image(index, record))

    def blank(self, index: int) -> Sample:
        """The objects of an image on black, for where its file cannot be read."""
        record = self.record(index)
        width, height = record.original_size
        return _sample(record, np.zeros((height, width, 3), np.uint8))

    def preload(self) -> int:
        """Decodes every image now, where cache_images is on; returns the bytes the cache takes.

        Worth calling before loader workers are forked: they then share one cache, where otherwise
        each fills its own. With on_error "skip" an image that cannot be read is passed over; whoever
        asks for it gets the error.
        """
        if self._cache is None:
            return 0
        for index in range(len(self)):
            try:
                self._image(index, self.table.record(index))
            except (ImageReadError, OSError):
                if self.on_error == "raise":
                    raise
        size = sum(image.nbytes for image in self._cache.values())
        logger.info("%s: %d MiB of images in memory", self.report.source, size >> 20)
        return size

    def _check_index(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: expected {-len(self)} to {len(self) - 1}, got {index}")
        return int(index) % len(self)

    def _image(self, index: int, record: ImageRecord) -> np.ndarray:
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        if self.orientation == "stored":
            image = read_image(record.path)
        else:
            image = read_oriented(record.path, record.original_size)
        if (image.shape[1], image.shape[0]) != record.original_size:
            raise ImageReadError(
                f"{record.path}: expected {record.original_size[0]} x {record.original_size[1]} "
                f"pixels as annotated, got {image.shape[1]} x {image.shape[0]}"
            )
        if self._cache is not None:
            image.setflags(write=False)
            self._cache[index] = image
        return image


def _sample(record: ImageRecord, image: np.ndarray) -> Sample:
    return Sample(
        image=image,
        boxes=record.boxes.astype(np.float32),
        labels=record.labels,
        difficult=record.difficult,
        crowd=record.crowd,
        image_id=record.image_id,
        path=record.path,
        original_size=record.original_size,
    )
