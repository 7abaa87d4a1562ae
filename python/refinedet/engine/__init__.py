"""Training and evaluation of detectors, on Lightning."""

from __future__ import annotations

from .config import DataConfig, EvalConfig, ModelConfig, OptimConfig, RunConfig, SplitConfig, TrainConfig
from .evaluate import evaluate
from .train import TrainResult, train

__all__ = [
    "DataConfig",
    "EvalConfig",
    "ModelConfig",
    "OptimConfig",
    "RunConfig",
    "SplitConfig",
    "TrainConfig",
    "TrainResult",
    "evaluate",
    "train",
]
