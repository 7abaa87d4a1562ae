"""Collects detections batch by batch and computes the metrics, on one process or on many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .coco import coco_evaluate
from .ground_truth import GroundTruth
from .results import (
    ImageDetections,
    from_coco_results,
    from_padded,
    no_detections,
    read_results,
    to_coco_results,
)
from .schema import ImageId
from .voc import PrecisionRecall, precision_recall_curves, voc_evaluate

KINDS = ("coco", "voc07", "voc12")


class Evaluator:
    """Detections of a data set against its ground truth.

    ground_truth: a COCO dictionary (images, annotations, categories) or a file of one. class_names:
    the names behind the labels of the detections, label i being class_names[i - 1]; None: the
    categories in the order listed. clip: limits boxes to their image.

        evaluator = Evaluator(to_coco_dict(dataset), dataset.class_names)
        for batch in loader:
            evaluator.update(model(batch.images), batch)
        metrics = evaluator.compute("coco")

    With several processes, each updates its own evaluator with its share; one of them then calls
    `merge` with the `state` of each of the others (by `torch.distributed.all_gather_object`, say).
    """

    def __init__(
        self,
        ground_truth: GroundTruth | Mapping[str, Any] | str | Path,
        class_names: Sequence[str] | None = None,
        *,
        clip: bool = True,
    ) -> None:
        self.ground_truth = GroundTruth.load(ground_truth, class_names)
        self.clip = clip
        self._known = set(self.ground_truth.image_ids)
        self._records: dict[ImageId, ImageDetections] = {}

    @property
    def class_names(self) -> list[str]:
        """The C foreground classes; label i is class_names[i - 1]."""
        return self.ground_truth.class_names

    def __len__(self) -> int:
        """How many images have been seen."""
        return len(self._records)

    def reset(self) -> None:
        """Forgets all detections; the ground truth stays."""
        self._records.clear()

    def update(self, detections: Any, batch: Any) -> None:
        """Adds the padded, normalized `Detections` of a `Batch` (image_ids and original_sizes).

        Images that the batch lists as `unreadable` count as images without detections.
        """
        records = from_padded(detections, batch.original_sizes, batch.image_ids, clip=self.clip)
        blank = {lost.image_id for lost in getattr(batch, "unreadable", ())}
        for record in records:
            self.add(no_detections(record.image_id) if record.image_id in blank else record)

    def add(self, record: ImageDetections) -> None:
        """Adds the detections of one image. An image that has been seen already is refused."""
        self._check(record)
        if record.image_id in self._records:
            raise ValueError(
                f"image {record.image_id!r} has been evaluated already: call reset() between "
                "evaluations; repeated images of distributed samplers belong to different "
                "processes, where merge() drops them"
            )
        self._records[record.image_id] = record

    def load_results(self, results: Sequence[Mapping[str, Any]] | str | Path) -> None:
        """Takes the whole evaluation from COCO result entries or a file of them.

        Images without an entry count as images without detections.
        """
        if isinstance(results, str | Path):
            results = read_results(
                results,
                image_ids=self.ground_truth.image_ids,
                category_ids=self.ground_truth.category_ids,
            )
        truth = self.ground_truth
        for record in from_coco_results(results, truth.category_ids, truth.image_ids):
            self.add(record)

    def state(self) -> list[ImageDetections]:
        """What other processes need to merge; it can be pickled."""
        return list(self._records.values())

    def merge(self, state: Sequence[ImageDetections]) -> None:
        """Adds the `state()` of another process's evaluator.

        Distributed samplers repeat images so that every process has equally many; of an image
        that comes twice the first stays, hence merge in the order of the ranks.
        """
        for record in state:
            self._check(record)
            self._records.setdefault(record.image_id, record)

    def results(self) -> list[dict[str, Any]]:
        """All detections as COCO result entries, images in the order of the ground truth."""
        return to_coco_results(self._ordered(), self.ground_truth.category_ids)

    def compute(
        self,
        kind: str = "coco",
        *,
        partial: bool = False,
        max_detections: tuple[int, int, int] = (1, 10, 100),
        iou_threshold: float = 0.5,
        pixel_offset: float = 1.0,
        inclusive: bool = True,
    ) -> dict[str, Any]:
        """The metrics, as plain JSON-able values.

        kind "coco": see `coco_evaluate`, with max_detections. kind "voc07" (11-point) and "voc12"
        (area): see `voc_evaluate`, with the last three arguments. partial: evaluate only the
        images seen so far; otherwise every image of the ground truth must have been seen.
        """
        if kind not in KINDS:
            raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
        truth, records = self._covered(partial), self._ordered()
        if kind == "coco":
            return coco_evaluate(truth, records, max_detections=max_detections)
        metrics = voc_evaluate(
            truth,
            records,
            method="11point" if kind == "voc07" else "area",
            iou_threshold=iou_threshold,
            pixel_offset=pixel_offset,
            inclusive=inclusive,
        )
        return {**metrics, "kind": kind}

    def precision_recall(
        self,
        iou_threshold: float = 0.5,
        *,
        partial: bool = False,
        pixel_offset: float = 0.0,
        inclusive: bool = True,
    ) -> dict[str, PrecisionRecall]:
        """The curve of every class by name; see `precision_recall_curves`.

        Overlaps are taken without the pixel offset, unlike those of the VOC kinds of `compute`.
        """
        return precision_recall_curves(
            self._covered(partial),
            self._ordered(),
            iou_threshold=iou_threshold,
            pixel_offset=pixel_offset,
            inclusive=inclusive,
        )

    def _covered(self, partial: bool) -> GroundTruth:
        if partial:
            return self.ground_truth.subset(self._records)
        missing = [i for i in self.ground_truth.image_ids if i not in self._records]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(self._known)} images of the ground truth have not been "
                f"evaluated, the first is {missing[0]!r}; partial=True evaluates the others alone"
            )
        return self.ground_truth

    def _ordered(self) -> list[ImageDetections]:
        return [self._records[i] for i in self.ground_truth.image_ids if i in self._records]

    def _check(self, record: ImageDetections) -> None:
        where = f"image {record.image_id!r}"
        if record.image_id not in self._known:
            raise ValueError(f"{where}: not in the ground truth")
        if (record.labels > len(self.class_names)).any():
            raise ValueError(f"{where}: labels: expected 1..{len(self.class_names)}, got {record.labels.max()}")
