"""A written file is opened again and compared with its model before it takes its place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from ..detectors import Detector
from ..model_info import ModelInfo
from ..runtimes.session import DETECTIONS, RAW_OUTPUTS, Session

Result = TypeVar("Result")

BATCHES = (1, 2, 5)
"""Numbers of images that a file with a dynamic batch is tried with."""
RAW_TOLERANCE = 1e-3
"""Of raw outputs, relative to the largest number among them: sums of thousands of products in another order."""
SCORE_TOLERANCE = 1e-3
BOX_TOLERANCE = 1e-3
"""Of detections: of scores, and of corners in fractions of the input or of the box, whichever is the larger."""
FLIPS = 0.02
"""The share of an image's detections that may lack a partner, one at least: suppression decides by thresholds, and a
score or an overlap on one may fall on either side."""


@dataclass(frozen=True)
class Check:
    """What the comparison of a file with its model found.

    runtime: its name and version. batches: how many images it was tried with, call by call. difference: the largest,
    of raw outputs relative to the largest number of its kind, of scores of detections as it is. detections: that were
    compared; None for raw outputs.
    """

    runtime: str
    batches: tuple[int, ...]
    difference: float
    detections: int | None = None

    def __str__(self) -> str:
        counts = " and ".join(filter(None, [", ".join(map(str, self.batches[:-1])), str(self.batches[-1])]))
        images = "1 image" if self.batches == (1,) else f"{counts} images"
        what = "" if self.detections is None else f", {self.detections} detections,"
        return f"agrees with the model in {self.runtime} on {images}{what} to {self.difference:.1e}"


def write_checked(path: Path, write: Callable[[Path], None], check: Callable[[Path], Result]) -> Result:
    """Write a file, and those that belong to it, under another name; move it to its place when `check` has passed.

    write: gets a path with the same name in a folder of its own, beside the place. Whatever it or `check` raises goes
    on, and leaves nothing. Returns what `check` does.
    """
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        made = Path(folder) / path.name
        write(made)
        result = check(made)
        others = sorted(file for file in Path(folder).iterdir() if file != made)
        for file in (*others, made):  # the one that names the others last
            os.replace(file, path.parent / file.name)
    return result


def compare(model: Detector, session: Session, info: ModelInfo) -> Check:
    """Run a file on images of noise; ValueError where it does not give what the model does.

    session: the file, opened again. info: what it has to say about itself.
    """
    if session.info != info:
        raise ValueError(f"{session.runtime}: the file describes another model than was written: {session.info}")
    batches = BATCHES if info.batch is None else (info.batch,)
    difference, detections = 0.0, 0
    for count in batches:
        pixels = noise(count, info.input_size, seed=count)
        images = pixels if info.pixels == "uint8" else model.normalization.apply(pixels)
        got = session(images.numpy())
        want = expected(model, pixels, info.outputs)
        if info.outputs == "raw":
            difference = max(difference, compare_raw(got, want, session.runtime))
        else:
            worst, compared = compare_detections(got, want, session.runtime)
            difference, detections = max(difference, worst), detections + compared
    return Check(session.runtime, batches, difference, None if info.outputs == "raw" else detections)


def noise(count: int, size: tuple[int, int], *, seed: int) -> torch.Tensor:
    """Images (count, 3, height, width) uint8 of coloured blots of all sizes on which networks find something."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(count, 3, *size)
    for cells in (2, 4, 8, 16, 32):
        coarse = torch.randn(count, 3, cells, cells, generator=generator)
        total += torch.nn.functional.interpolate(coarse, size, mode="bilinear")
    return (total * 35 + 128).clamp(0, 255).to(torch.uint8)


@torch.inference_mode()
def expected(model: Detector, pixels: torch.Tensor, outputs: str) -> dict[str, np.ndarray]:
    """What the file has to give for images (B, 3, H, W) uint8, by the names of its outputs."""
    device = next(model.parameters()).device
    raw = model.head_outputs(model._normalized(pixels.to(device)))
    found = raw if outputs == "raw" else model.detect(raw)
    names = RAW_OUTPUTS if outputs == "raw" else DETECTIONS
    return {name: value.cpu().numpy() for name, value in zip(names, found, strict=True)}


def compare_raw(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], runtime: str) -> float:
    """The largest difference over the largest number of each output; ValueError where it is too large."""
    worst = 0.0
    for name, right in want.items():
        value = got[name]
        if value.shape != right.shape:
            raise ValueError(f"{runtime}: {name}: expected shape {right.shape} as the model has, got {value.shape}")
        largest = float(np.abs(right).max(initial=0.0)) or 1.0
        difference = float(np.abs(value - right).max(initial=0.0)) / largest
        if not difference <= RAW_TOLERANCE:
            raise ValueError(
                f"{runtime}: {name}: expected what the model gives to {RAW_TOLERANCE:g} of {largest:.4g}, got numbers "
                f"that differ by {difference:.2g} of it"
            )
        worst = max(worst, difference)
    return worst


def compare_detections(
    got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], runtime: str
) -> tuple[float, int]:
    """The largest difference of scores, and how many detections were compared; ValueError where too many of them have
    no partner of their label beside them."""
    worst, compared = 0.0, 0
    for name, right in want.items():
        if got[name].shape != right.shape or got[name].dtype != right.dtype:
            raise ValueError(
                f"{runtime}: {name}: expected {right.dtype} of shape {right.shape} as the model has, got "
                f"{got[name].dtype} of shape {got[name].shape}"
            )
    for image, (ours, theirs) in enumerate(zip(_rows(want), _rows(got), strict=True)):
        allowed = max(1, int(FLIPS * len(ours)))
        alone, gap = _unpaired(ours, theirs)
        others, _ = _unpaired(theirs, ours)
        if max(alone, others) > allowed:
            raise ValueError(
                f"{runtime}: image {image} of {len(want['count'])}: expected the model's {len(ours)} detections, got "
                f"{len(theirs)}, of which {others} are others; the model's have {alone} that are not among them"
            )
        worst, compared = max(worst, gap), compared + len(ours)
    return worst, compared


def _rows(found: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """For each image its detections (N, 6): label, score, corners."""
    table = np.concatenate([found["labels"][..., None], found["scores"][..., None], found["boxes"]], axis=-1)
    return [rows[:count] for rows, count in zip(table, found["count"], strict=True)]


def _unpaired(rows: np.ndarray, others: np.ndarray) -> tuple[int, float]:
    """How many rows have no partner among the others, and the largest difference of the scores of pairs."""
    alone, worst = 0, 0.0
    for row in rows:
        scale = max(1.0, row[4] - row[2], row[5] - row[3])
        near = (others[:, 0] == row[0]) & (np.abs(others[:, 2:] - row[2:]).max(axis=1) <= BOX_TOLERANCE * scale)
        gaps = np.abs(others[near, 1] - row[1])
        if len(gaps) and gaps.min() <= SCORE_TOLERANCE:
            worst = max(worst, float(gaps.min()))
        else:
            alone += 1
    return alone, worst
