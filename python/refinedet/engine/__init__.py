"""Training and evaluation of detectors, on Lightning.

The options of a run stand here, which need neither torch nor Lightning. What they do is in the modules `engine.train`
and `engine.evaluate`.
"""

from __future__ import annotations

from .config import DataConfig, EvalConfig, ModelConfig, OptimConfig, RunConfig, SplitConfig, TrainConfig

__all__ = [
    "DataConfig",
    "EvalConfig",
    "ModelConfig",
    "OptimConfig",
    "RunConfig",
    "SplitConfig",
    "TrainConfig",
]
