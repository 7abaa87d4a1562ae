"""One run of a detector in which somebody looks on: the maps, scores and offsets inside it, by forward hooks.

Nothing of the network is changed, and what it returns is what it returns without the hooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from refinedet_ext.nn import DeformAlign

from ..detectors import Detector
from ..heads import BoxHeads, FeatureAlignment, FeatureGuidedRefinement
from ..inference.finite import finite_outputs
from ..optimize import OptimizedDetector
from ..outputs import HeadOutputs
from .levels import Level, levels_of
from .sampling import sampling_points

if TYPE_CHECKING:
    import refinedet_ext as rx

FIRST, SECOND = "first stage", "second stage"


@dataclass(frozen=True)
class Recording:
    """What a detector did with one image.

    outputs, detections: as the detector gives them, a batch of one.
    levels: of the pyramid, the finest first.
    features: by stage, the strength of the maps that its heads read, (rows, columns) per level: the root of the mean
        square over the channels. A detector with one set of heads has the first stage alone.
    points: by level, where the deformable alignment reads for each cell, (rows, columns, 9, 2), see `sampling_points`;
        empty for detectors, and without those levels, that have none.
    regular: by level, the same without offsets.
    """

    outputs: HeadOutputs
    detections: rx.Detections
    levels: list[Level]
    features: dict[str, list[np.ndarray]]
    points: dict[int, np.ndarray]
    regular: dict[int, np.ndarray]


@dataclass
class _Seen:
    """What the hooks saw. heads: of each set of heads in the order of their calls, the map that each level's read."""

    sizes: list[tuple[int, int]] = field(default_factory=list)
    heads: dict[BoxHeads, dict[int, np.ndarray]] = field(default_factory=dict)
    points: dict[int, np.ndarray] = field(default_factory=dict)
    regular: dict[int, np.ndarray] = field(default_factory=dict)


@torch.inference_mode()
def record(model: Detector, pixels: Tensor) -> Recording:
    """Run a detector on one image and keep what is inside.

    model: any `Detector` with `BoxHeads`, in eval mode, but for an optimized copy, whose modules are not called.
    pixels: (1, 3, H, W) uint8 in BGR order, of a size that the model takes.

    TypeError or ValueError for what does not fit; FloatingPointError where the network overflows.
    """
    if isinstance(model, OptimizedDetector):
        raise TypeError("model: expected a detector as it was built or loaded, got an optimized copy")
    if model.training:
        raise ValueError("model: expected one in eval mode, got one in training mode; call model.eval() first")
    if pixels.dim() != 4 or len(pixels) != 1:
        raise ValueError(f"pixels: expected shape (1, 3, H, W), got {tuple(pixels.shape)}")
    seen = _Seen()
    with _looking_on(model, seen):
        outputs = finite_outputs(model, pixels)
    if not seen.heads:
        raise TypeError(f"model: expected a detector whose predictions come from BoxHeads, got {type(model).__name__}")
    levels = levels_of(model, seen.sizes, (pixels.shape[2], pixels.shape[3]))
    stages = list(seen.heads.values())
    named = {FIRST: stages[0]} if len(stages) == 1 else {FIRST: stages[0], SECOND: stages[-1]}
    features = {stage: [maps[i] for i in range(len(levels))] for stage, maps in named.items()}
    return Recording(outputs, model.detect(outputs), levels, features, seen.points, seen.regular)


@contextmanager
def _looking_on(model: Detector, seen: _Seen) -> Iterator[None]:
    """With hooks on the heads and on the alignment, and a look at the maps that the anchors are made for."""
    alignments = [m for m in model.modules() if isinstance(m, (FeatureAlignment, FeatureGuidedRefinement))]
    with ExitStack() as stack:
        for heads in (module for module in model.modules() if isinstance(module, BoxHeads)):
            for level, block in enumerate(heads.blocks):
                handle = block.register_forward_pre_hook(_keep_features(seen, heads, level))
                stack.callback(handle.remove)
        for level, alignment in enumerate(alignments):
            if isinstance(alignment.align, DeformAlign):
                handle = alignment.align.register_forward_pre_hook(_keep_points(seen, level), with_kwargs=True)
                stack.callback(handle.remove)
        anchors_for = model.anchors_for

        def keep_sizes(maps: Sequence[Tensor], images: Tensor) -> Tensor:
            seen.sizes = [(int(m.shape[2]), int(m.shape[3])) for m in maps]
            return anchors_for(maps, images)

        model.anchors_for = keep_sizes  # type: ignore[method-assign]
        stack.callback(delattr, model, "anchors_for")
        yield


def _keep_features(seen: _Seen, heads: BoxHeads, level: int) -> Callable[..., None]:
    def hook(module: Any, inputs: tuple[Tensor, ...]) -> None:
        strength = inputs[0][0].float().square().mean(dim=0).sqrt()
        seen.heads.setdefault(heads, {})[level] = strength.cpu().numpy()

    return hook


def _keep_points(seen: _Seen, level: int) -> Callable[..., None]:
    def hook(layer: DeformAlign, inputs: tuple[Tensor, ...], named: dict[str, Tensor | None]) -> None:
        offset = inputs[1] if len(inputs) > 1 else named.get("offset")
        center = named.get("center")
        shifts = [None if shift is None else shift[0] for shift in (offset, center)]
        seen.points[level] = sampling_points(layer, *shifts)
        seen.regular[level] = sampling_points(layer, *(None if s is None else torch.zeros_like(s) for s in shifts))

    return hook
