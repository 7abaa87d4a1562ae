"""Detectors with random weights that have as much to do as trained ones, and images for them.

Convolutions take the same time whatever their weights, but for numbers so small or so large that the processor slows
down or the result is not finite; what follows them does not. Heads that start at random give every class of every
anchor a score far above 0.01: a decoder and a suppression of thousands of boxes, which no trained detector has to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

import refinedet_ext as rx

from ..data.image_io import resize_image
from ..detectors import Detector
from ..structures import to_tensor

ANCHORS_KEPT = 390 / 6375
"""Share of the anchors that a trained first stage leaves; one trained on photographs of blood cells leaves 8%."""
SCORES_PER_ANCHOR = 3.6
"""Class scores above the threshold for each of those, before the suppression, with 20 classes or 80; that one, with 3
classes, has 0.8."""
SEED = 0
_STATISTICS_OF = 2  # images: a map of a single cell has no variance with one


def noise_images(count: int, side: int) -> list[np.ndarray]:
    """Smooth noise, (side, side, 3) uint8 BGR, the same at every call."""
    rng = np.random.default_rng(SEED)
    coarse = rng.integers(0, 256, (count, max(2, side // 16), max(2, side // 16), 3)).astype(np.uint8)
    return [resize_image(image, (side, side), "cubic") for image in coarse]


def sized(images: Sequence[np.ndarray], side: int) -> list[np.ndarray]:
    """Images (H, W, 3) uint8 resized to the network's input, so that nothing is left to resize."""
    return [resize_image(image, (side, side)) for image in images]


@torch.no_grad()
def make_as_busy_as_trained(model: Detector, images: Sequence[np.ndarray]) -> None:
    """Prepare a detector with random weights for a measurement; it is in eval mode afterwards.

    Its batch norms get the statistics of these images (from their first values, maps grow beyond all bounds in deep
    networks). Then two thresholds are set to where as many pass as with a trained detector: `config.theta`, so that the
    first stage keeps `ANCHORS_KEPT` of the anchors, and the NMS's score threshold (and the score at which soft-NMS
    drops a box, in proportion), so that `SCORES_PER_ANCHOR` class scores for each of those enter the suppression. The
    weights and the operations stay as they are. A detector without scores in its first stage keeps all anchors, as it
    does after training.

    images: (side, side, 3) uint8 BGR. FloatingPointError if the outputs are not finite all the same.
    """
    device = next(model.parameters()).device
    chosen = [images[i % len(images)] for i in range(_STATISTICS_OF)]
    pixels = model.normalization.apply(torch.stack([to_tensor(image) for image in chosen]).to(device))
    _set_statistics(model, pixels)
    outputs = model.head_outputs(pixels)
    for name, value in zip(outputs._fields, outputs, strict=True):
        if not torch.isfinite(value).all():
            raise FloatingPointError(f"model: with random weights its {name} are not finite, so that times mean little")
    margin = (outputs.arm_logits[..., 1] - outputs.arm_logits[..., 0]).flatten()
    kept = torch.ones_like(margin, dtype=torch.bool).view(outputs.arm_logits.shape[:2])
    if margin.min() < margin.max() and model.config.theta < 1:
        edge = _between(margin, round(ANCHORS_KEPT * len(margin)))
        model.config = replace(model.config, theta=float(1 / (1 + edge.exp())))
        kept = rx.filter_anchors_mask(outputs.arm_logits, model.config.theta)
    scores = outputs.odm_logits.softmax(-1)[..., 1:][kept].flatten()
    threshold = float(_between(scores, round(SCORES_PER_ANCHOR * ANCHORS_KEPT * len(margin))))
    nms = model.nms
    share = nms.min_score / nms.score_threshold if nms.score_threshold else 1.0
    model.nms = replace(nms, score_threshold=threshold, min_score=min(1.0, threshold * share))


def _set_statistics(model: Detector, pixels: Tensor) -> None:
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the average of all batches, of which there is one
    model.train().head_outputs(pixels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def _between(values: Tensor, count: int) -> Tensor:
    """Halfway between the count-th largest and the next one."""
    count = min(max(count, 1), len(values))
    return values.double().topk(min(count + 1, len(values))).values[-2:].mean()
