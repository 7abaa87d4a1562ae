"""Milliseconds from a decoded photograph to its detections, on one core, in whatever runs a network."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .task import Photographs, Task

SPEED = "speed.json"
THRESHOLD = 0.25  # score from which a detection counts, for everybody
PHOTOGRAPHS = 12
SECONDS, FEWEST_PASSES = 4.0, 3
SURE = 0.1  # above the threshold: what float32 and bfloat16 both find
SAME_IOU, SAME_SCORE = 0.8, {"float32": 0.02, "bfloat16": 0.1}
SAME_SHARE = {"float32": 0.97, "bfloat16": 0.8}  # of detections; a rounding decides between boxes that overlap


class Found(NamedTuple):
    """Detections in a photograph's pixels: (N, 4) x1, y1, x2, y2; (N,) scores; (N,) labels from 1."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


Detect = Callable[[np.ndarray], Found]
"""Of (H, W, 3) 8-bit RGB."""


class Disagreement(Exception):
    """A runtime finds something else than the network it was made of."""


def pin() -> None:
    """One core for this process and all threads that are begun from now on, where the system allows it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def time_all(task: Task, runtimes: Mapping[str, Callable[[], Detect]], about: Mapping[str, Any]) -> None:
    """Times every runtime and writes speed.json. runtimes: by name, the first what the others must agree with; a name
    ends with "bfloat16" where it computes in that. A runtime that does not run is left out, with its reason."""
    pin()
    photographs = Photographs.read(task.test, task.images)
    images = [decode(item.path) for item in photographs.items[:PHOTOGRAPHS]]
    expected: list[Found] = []
    times: dict[str, Any] = {}
    for name, open_runtime in runtimes.items():
        detect = open_runtime()
        found = [detect(image) for image in images]
        if expected:
            try:
                check_same(expected, found, "bfloat16" if name.endswith("bfloat16") else "float32")
            except Disagreement as error:
                times[name] = {"left_out": str(error)}
                print(name, error, flush=True)
                continue
        else:
            expected = found
        times[name] = milliseconds(detect, images)
        print(name, times[name], flush=True)
    content = {"threshold": THRESHOLD, "size": list(images[0].shape[1::-1]), "times": times, "about": dict(about)}
    partial = Path(task.folder) / f"{SPEED}.part"
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(Path(task.folder) / SPEED)


def decode(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def milliseconds(detect: Detect, images: Sequence[np.ndarray]) -> dict[str, Any]:
    """Processor time of an image: the median over passes through all images, their least and most."""
    passes: list[float] = []
    while len(passes) < FEWEST_PASSES or sum(passes) * len(images) < 1000 * SECONDS:
        began = time.process_time()
        for image in images:
            detect(image)
        passes.append(1000 * (time.process_time() - began) / len(images))
    return {"ms": statistics.median(passes), "least": min(passes), "most": max(passes), "passes": len(passes)}


def check_same(expected: Sequence[Found], found: Sequence[Found], precision: str) -> None:
    """Disagreement unless nearly all sure detections of each are the other's, up to what the precision rounds."""
    for ours, theirs, what in ((expected, found, "finds"), (found, expected, "should find")):
        alike = [same for one, other in zip(ours, theirs, strict=True) for same in shared(one, other, precision)]
        if sum(alike) < SAME_SHARE[precision] * len(alike):
            raise Disagreement(f"{what} {sum(alike)} of {len(alike)} detections")


def shared(one: Found, other: Found, precision: str) -> list[bool]:
    """Of each sure detection, whether the other has it, with nearly its box and score."""
    return [
        bool(
            (
                (other.labels == label)
                & (np.abs(other.scores - score) <= SAME_SCORE[precision])
                & (overlaps(box, other.boxes) >= SAME_IOU)
            ).any()
        )
        for box, score, label in zip(*one, strict=True)
        if score >= THRESHOLD + SURE
    ]


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """IoU of one box with (N, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - shared)


def onnxruntime_network(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    """On one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    return lambda x: session.run(None, {name: x})


def openvino_network(path: Path, precision: str = "f32") -> Callable[[np.ndarray], list[np.ndarray]]:
    """On one thread. precision: of the computation, f32 or bf16."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    network = openvino.Core().compile_model(str(path), "CPU", settings)
    return lambda x: list(network([x]).to_dict().values())


def exported(path: Path, wrap: Callable[[Callable[[np.ndarray], list[np.ndarray]]], Detect]) -> dict[str, Any]:
    """What runs an ONNX file, for `time_all`. wrap: makes a detector of a network."""
    return {
        "onnxruntime": lambda: wrap(onnxruntime_network(path)),
        "openvino": lambda: wrap(openvino_network(path)),
        "openvino bfloat16": lambda: wrap(openvino_network(path, "bf16")),
    }
