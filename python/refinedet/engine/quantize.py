"""What quantisation asks of a data set: images to calibrate on, and a metric to watch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..data import EvalPipeline, build_loader
from ..data.dataset import DetectionDataset
from ..runtimes import RuntimeModel
from .evaluate import evaluate


def calibration_images(dataset: DetectionDataset, side: int, count: int, *, seed: int = 0) -> list[np.ndarray]:
    """Up to `count` images of a data set, chosen at random, as the evaluation sees them: (3, side, side) uint8, BGR.

    An image that cannot be read raises ImageReadError or OSError.
    """
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:count]
    part = dataset.subset(sorted(chosen.tolist()), f"{len(chosen)} images to calibrate on")
    loader = build_loader(part, EvalPipeline(side), batch_size=1)
    return [batch.images[0].numpy() for batch in loader]


def average_precision(dataset: DetectionDataset, *, batch_size: int, workers: int) -> Callable[[RuntimeModel], float]:
    """A function that measures COCO's AP of a model on a data set, in points of 100."""

    def measure(model: RuntimeModel) -> float:
        metrics = evaluate(model, dataset, kind="coco", batch_size=batch_size, workers=workers)
        return 100 * float(metrics["AP"])

    return measure
