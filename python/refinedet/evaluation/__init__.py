"""Evaluation of detections: COCO and VOC metrics, result files, tables and plots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from .coco import coco_evaluate
    from .evaluator import KINDS, Evaluator
    from .ground_truth import GroundTruth
    from .plots import plot_precision_recall, plot_training_curves
    from .report import format_table, versions, write_metrics
    from .results import (
        ImageDetections,
        from_coco_results,
        from_padded,
        no_detections,
        read_results,
        to_coco_results,
        to_padded,
        write_results,
    )
    from .schema import ResultsError, check_results
    from .voc import PrecisionRecall, average_precision, precision_recall_curves, voc_evaluate
    from .voc_results import voc_result_files, write_voc_results

__all__ = [
    "KINDS",
    "Evaluator",
    "GroundTruth",
    "ImageDetections",
    "PrecisionRecall",
    "ResultsError",
    "average_precision",
    "check_results",
    "coco_evaluate",
    "format_table",
    "from_coco_results",
    "from_padded",
    "no_detections",
    "plot_precision_recall",
    "plot_training_curves",
    "precision_recall_curves",
    "read_results",
    "to_coco_results",
    "to_padded",
    "versions",
    "voc_evaluate",
    "voc_result_files",
    "write_metrics",
    "write_results",
    "write_voc_results",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        ".coco": ("coco_evaluate",),
        ".evaluator": (
            "KINDS",
            "Evaluator",
        ),
        ".ground_truth": ("GroundTruth",),
        ".plots": (
            "plot_precision_recall",
            "plot_training_curves",
        ),
        ".report": (
            "format_table",
            "versions",
            "write_metrics",
        ),
        ".results": (
            "ImageDetections",
            "from_coco_results",
            "from_padded",
            "no_detections",
            "read_results",
            "to_coco_results",
            "to_padded",
            "write_results",
        ),
        ".schema": (
            "ResultsError",
            "check_results",
        ),
        ".voc": (
            "PrecisionRecall",
            "average_precision",
            "precision_recall_curves",
            "voc_evaluate",
        ),
        ".voc_results": (
            "voc_result_files",
            "write_voc_results",
        ),
    },
)
