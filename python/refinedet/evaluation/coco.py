"""The COCO detection metrics (https://cocodataset.org/#detection-eval), computed by pycocotools."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from .ground_truth import GroundTruth
from .results import ImageDetections, from_coco_results

_silent: ContextVar[bool] = ContextVar("_silent", default=False)

# name, precision or recall, IoU threshold or None for the mean over 0.50:0.95, object size, position
# in max_detections; {} in a name stands for that number
_SUMMARY: tuple[tuple[str, str, float | None, str, int], ...] = (
    ("AP", "precision", None, "all", 2),
    ("AP50", "precision", 0.5, "all", 2),
    ("AP75", "precision", 0.75, "all", 2),
    ("APs", "precision", None, "small", 2),
    ("APm", "precision", None, "medium", 2),
    ("APl", "precision", None, "large", 2),
    ("AR{}", "recall", None, "all", 0),
    ("AR{}", "recall", None, "all", 1),
    ("AR{}", "recall", None, "all", 2),
    ("ARs", "recall", None, "small", 2),
    ("ARm", "recall", None, "medium", 2),
    ("ARl", "recall", None, "large", 2),
)


def coco_evaluate(
    ground_truth: GroundTruth | Mapping[str, Any] | str | Path,
    detections: Sequence[ImageDetections] | Sequence[Mapping[str, Any]],
    *,
    max_detections: tuple[int, int, int] = (1, 10, 100),
    verbose: bool = False,
) -> dict[str, Any]:
    """The twelve COCO summary metrics, and AP and AP50 of every class.

    ground_truth: as for `GroundTruth.load`; detections: pixel records, or COCO result entries,
    whose category ids are then those of the ground truth. All images of the ground truth count,
    those without a record as images without detections. max_detections: most detections per
    image and class that count for the three recalls; the last one is also the limit of every
    other metric. verbose: lets pycocotools print its progress.

    Returns plain JSON-able values: `kind`, `AP`, `AP50`, `AP75`, `APs`, `APm`, `APl`, `AR1`,
    `AR10`, `AR100` (numbers from max_detections), `ARs`, `ARm`, `ARl` in 0..1, `images`, `objects`,
    `detections`, and `per_class`: name to `AP`, `AP50`, `objects`, `detections`. None stands where
    the ground truth has nothing to measure, say a class or a size without objects; means leave it
    out. Crowd boxes are ignored as pycocotools does; VOC's difficult flag has no meaning in this
    protocol.
    """
    truth = GroundTruth.load(ground_truth)
    limits = _check_limits(max_detections)
    records = as_records(truth, detections)
    evaluation = run_pycocotools(truth, records, limits, verbose=verbose)
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    params = evaluation.params

    metrics: dict[str, Any] = {"kind": "coco"}
    for name, what, iou, size, position in _SUMMARY:
        values = precision if what == "precision" else recall
        if iou is not None:
            values = values[np.isclose(params.iouThrs, iou)]
        values = values[..., params.areaRngLbl.index(size), position]
        metrics[name.format(limits[position])] = _mean(values)
    objects = np.bincount(truth.labels[~truth.crowd], minlength=len(truth.class_names) + 1)
    found = np.zeros(len(truth.class_names) + 1, np.int64)
    for record in records:
        found += np.bincount(record.labels, minlength=len(found))
    metrics["images"] = len(truth.image_ids)
    metrics["objects"] = int(objects.sum())
    metrics["detections"] = int(found.sum())
    half = np.isclose(params.iouThrs, 0.5)
    everything = params.areaRngLbl.index("all")
    metrics["per_class"] = {
        name: {
            "AP": _mean(precision[:, :, k, everything, -1]),
            "AP50": _mean(precision[half, :, k, everything, -1]),
            "objects": int(objects[k + 1]),
            "detections": int(found[k + 1]),
        }
        for k, name in enumerate(truth.class_names)
    }
    return metrics


def as_records(
    truth: GroundTruth,
    detections: Sequence[ImageDetections] | Sequence[Mapping[str, Any]],
) -> list[ImageDetections]:
    """Detections as pixel records, checked against the ground truth: known images, each once."""
    records: list[ImageDetections] = []
    entries: list[Mapping[str, Any]] = []
    for i, item in enumerate(detections):
        if isinstance(item, ImageDetections):
            records.append(item)
        elif isinstance(item, Mapping):
            entries.append(item)
        else:
            raise TypeError(f"detections[{i}]: expected ImageDetections or a COCO result, got {type(item).__name__}")
    if entries and records:
        raise TypeError("detections: expected all ImageDetections or all COCO results, got both")
    if entries:
        return from_coco_results(entries, truth.category_ids, truth.image_ids)
    known, seen = set(truth.image_ids), set()
    for i, record in enumerate(records):
        where = f"detections[{i}]: image {record.image_id!r}"
        if record.image_id not in known:
            raise ValueError(f"{where}: not in the ground truth")
        if record.image_id in seen:
            raise ValueError(f"{where}: comes twice")
        seen.add(record.image_id)
        if (record.labels > len(truth.class_names)).any():
            raise ValueError(f"{where}: labels: expected 1..{len(truth.class_names)}, got {record.labels.max()}")
    return records


def run_pycocotools(
    truth: GroundTruth,
    records: Sequence[ImageDetections],
    limits: Sequence[int],
    *,
    iou_thresholds: Sequence[float] | None = None,
    ignored: np.ndarray | None = None,
    by_size: bool = True,
    verbose: bool = False,
) -> Any:
    """A `COCOeval` of checked records, evaluated and accumulated; categories are the labels.

    limits: most detections per image and class, ascending. iou_thresholds: None is 0.50:0.95. ignored: (G,) bool,
    objects that count neither as found nor as missed; each takes one detection that would else be wrong, where a crowd
    takes any number. by_size: also by the objects' size; False leaves the first range, of all sizes, alone.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    class Evaluation(COCOeval):
        def _prepare(self) -> None:
            super()._prepare()  # has set "ignore" to "iscrowd"
            if ignored is not None:
                for objects in self._gts.values():
                    for one in objects:
                        one["ignore"] = int(one["iscrowd"] or ignored[one["id"] - 1])

    # pycocotools needs sortable image ids and takes an annotation id of 0 for "no match", so every
    # id is numbered anew, from 1; its loadRes fails on an empty list, so the index is built here.
    images = [{"id": i + 1} for i in range(len(truth.image_ids))]
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(truth.class_names)]
    objects = [
        {
            "id": i + 1,
            "image_id": int(truth.image_index[i]) + 1,
            "category_id": int(truth.labels[i]),
            "bbox": _xywh(truth.boxes[i]),
            "area": float(truth.area[i]),
            "iscrowd": int(truth.crowd[i]),
        }
        for i in range(len(truth))
    ]
    number_of = {image_id: i + 1 for i, image_id in enumerate(truth.image_ids)}
    found: list[dict[str, Any]] = []
    for record in records:
        for box, score, label in zip(record.boxes, record.scores, record.labels, strict=True):
            bbox = _xywh(box)
            found.append(
                {
                    "id": len(found) + 1,
                    "image_id": number_of[record.image_id],
                    "category_id": int(label),
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "score": float(score),
                    "iscrowd": 0,
                }
            )
    with _pycocotools_prints(verbose):
        sides = []
        for annotations in (objects, found):
            side = COCO()
            side.dataset = {"images": images, "categories": categories, "annotations": annotations}
            side.createIndex()
            sides.append(side)
        evaluation = Evaluation(*sides, iouType="bbox")
        evaluation.params.maxDets = list(limits)
        if not by_size:
            evaluation.params.areaRng = evaluation.params.areaRng[:1]
            evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
        if iou_thresholds is not None:
            evaluation.params.iouThrs = np.asarray(iou_thresholds, np.float64)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


@contextmanager
def _pycocotools_prints(verbose: bool) -> Iterator[None]:
    """Whether pycocotools prints in here. Of this thread alone: contextlib.redirect_stdout would take what the other
    threads print, too, and where two of them evaluate, sys.stdout would stay redirected."""
    from pycocotools import coco, cocoeval

    coco.print = cocoeval.print = _print  # prints as before wherever it is not told to be silent
    token = _silent.set(not verbose)
    try:
        yield
    finally:
        _silent.reset(token)


def _print(*values: Any, **options: Any) -> None:
    if not _silent.get():
        builtins.print(*values, **options)


def _check_limits(limits: Sequence[int]) -> list[int]:
    limits = list(limits)
    if len(limits) != 3 or limits[0] < 1 or sorted(set(limits)) != limits:
        raise ValueError(f"max_detections: expected three ascending numbers above 0, got {tuple(limits)}")
    return limits


def _xywh(box: np.ndarray) -> list[float]:
    x1, y1, x2, y2 = box.tolist()
    return [x1, y1, x2 - x1, y2 - y1]


def _mean(values: np.ndarray) -> float | None:
    """The mean of the measured values; pycocotools marks those without ground truth by -1."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None
