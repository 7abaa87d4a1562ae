"""RefineDet and its kin: detectors on the accelerated ops of `refinedet_ext`.

    import refinedet

    model = refinedet.create_model("refinedet320_vgg16", num_classes=21)

The parts load at first use, so that `import refinedet` alone is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import lazy_names

if TYPE_CHECKING:
    from .allocator import keep_freed_memory
    from .anchors import AnchorGenerator, AnchorLevel
    from .api import evaluate, train
    from .detectors import (
        Detector,
        DetectorConfig,
        EFGRNet,
        EFGRNetConfig,
        NMSConfig,
        PADet,
        PADetConfig,
        RefineDet,
        RefineDetConfig,
        RefineDetLite,
        RefineDetLiteConfig,
    )
    from .losses import MultiBoxLoss
    from .optimize import OptimizationReport, OptimizedDetector, optimize_for_inference
    from .outputs import HeadOutputs
    from .prediction import Prediction
    from .predictor import Predictor
    from .registry import create_model, list_models, model_entry, register_model
    from .structures import Batch, Sample
    from .weights import Checkpoint, load_model, save_model

__all__ = [
    "AnchorGenerator",
    "AnchorLevel",
    "Batch",
    "Checkpoint",
    "Detector",
    "DetectorConfig",
    "EFGRNet",
    "EFGRNetConfig",
    "HeadOutputs",
    "MultiBoxLoss",
    "NMSConfig",
    "OptimizationReport",
    "OptimizedDetector",
    "PADet",
    "PADetConfig",
    "Prediction",
    "Predictor",
    "RefineDet",
    "RefineDetConfig",
    "RefineDetLite",
    "RefineDetLiteConfig",
    "Sample",
    "create_model",
    "evaluate",
    "keep_freed_memory",
    "list_models",
    "load_model",
    "model_entry",
    "optimize_for_inference",
    "register_model",
    "save_model",
    "train",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        ".allocator": ("keep_freed_memory",),
        ".api": ("evaluate", "train"),
        ".anchors": ("AnchorGenerator", "AnchorLevel"),
        ".detectors": (
            "Detector",
            "DetectorConfig",
            "EFGRNet",
            "EFGRNetConfig",
            "NMSConfig",
            "PADet",
            "PADetConfig",
            "RefineDet",
            "RefineDetConfig",
            "RefineDetLite",
            "RefineDetLiteConfig",
        ),
        ".losses": ("MultiBoxLoss",),
        ".optimize": ("OptimizationReport", "OptimizedDetector", "optimize_for_inference"),
        ".outputs": ("HeadOutputs",),
        ".prediction": ("Prediction",),
        ".predictor": ("Predictor",),
        ".registry": ("create_model", "list_models", "model_entry", "register_model"),
        ".structures": ("Batch", "Sample"),
        ".weights": ("Checkpoint", "load_model", "save_model"),
    },
)
