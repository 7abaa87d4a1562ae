"""Data sets in the formats of VOC, COCO, YOLO and CSV, SSD's augmentation, and loaders that give batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy_names

if TYPE_CHECKING:
    from ..structures import Batch, Normalization, Sample, Unreadable, collate, to_tensor
    from .annotations import ImageRecord
    from .augment import EvalPipeline, TrainPipeline
    from .build import build_dataset
    from .coco import COCODetection
    from .coco_classes import COCO_CLASSES
    from .coco_format import coco_dict, to_coco_dict, write_coco_annotations
    from .csv_table import CSVDetection
    from .dataset import DetectionDataset
    from .image_io import ImageReadError, read_image, read_image_size
    from .loader import DetectionLoader, build_loader, set_epoch
    from .pipeline_dataset import PipelineDataset
    from .report import AnnotationError, AnnotationReport, Problem, ProblemKind
    from .sampler import EpochSampler, SampleKey
    from .seeding import sample_rng
    from .voc import VOC_CLASSES, VOCDetection, discover_voc_classes
    from .voc_folder import VOCFolderDetection
    from .yolo import YOLODetection

__all__ = [
    "COCO_CLASSES",
    "VOC_CLASSES",
    "AnnotationError",
    "AnnotationReport",
    "Batch",
    "COCODetection",
    "CSVDetection",
    "DetectionDataset",
    "DetectionLoader",
    "EpochSampler",
    "EvalPipeline",
    "ImageReadError",
    "ImageRecord",
    "Normalization",
    "PipelineDataset",
    "Problem",
    "ProblemKind",
    "Sample",
    "SampleKey",
    "TrainPipeline",
    "Unreadable",
    "VOCDetection",
    "VOCFolderDetection",
    "YOLODetection",
    "build_dataset",
    "build_loader",
    "coco_dict",
    "collate",
    "discover_voc_classes",
    "read_image",
    "read_image_size",
    "sample_rng",
    "set_epoch",
    "to_coco_dict",
    "to_tensor",
    "write_coco_annotations",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "..structures": (
            "Batch",
            "Normalization",
            "Sample",
            "Unreadable",
            "collate",
            "to_tensor",
        ),
        ".annotations": ("ImageRecord",),
        ".augment": (
            "EvalPipeline",
            "TrainPipeline",
        ),
        ".build": ("build_dataset",),
        ".coco": ("COCODetection",),
        ".coco_classes": ("COCO_CLASSES",),
        ".coco_format": (
            "coco_dict",
            "to_coco_dict",
            "write_coco_annotations",
        ),
        ".csv_table": ("CSVDetection",),
        ".dataset": ("DetectionDataset",),
        ".image_io": (
            "ImageReadError",
            "read_image",
            "read_image_size",
        ),
        ".loader": (
            "DetectionLoader",
            "build_loader",
            "set_epoch",
        ),
        ".pipeline_dataset": ("PipelineDataset",),
        ".report": (
            "AnnotationError",
            "AnnotationReport",
            "Problem",
            "ProblemKind",
        ),
        ".sampler": (
            "EpochSampler",
            "SampleKey",
        ),
        ".seeding": ("sample_rng",),
        ".voc": (
            "VOC_CLASSES",
            "VOCDetection",
            "discover_voc_classes",
        ),
        ".voc_folder": ("VOCFolderDetection",),
        ".yolo": ("YOLODetection",),
    },
)
