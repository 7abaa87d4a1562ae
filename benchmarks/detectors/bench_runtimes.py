"""A decoded photograph to its detections, by `refinedet.Predictor` in every runtime: resizing, network, detection step.

ours: `runtime="auto"`. The peers are the runtimes that it chooses from, and the torch model as it is. Results are
compared with those of the torch model before anything is timed. A model is saved and converted to ONNX once, in a cache
folder of this process, which takes a minute for a large one.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from refinedet_ext.machine import multiplies_bfloat16

from ..case import Case, Peer, Target
from ..peers import optional
from .bench_detectors import TRAINED_WITH, as_trained, model_of, random_images, with_statistics, work
from .bench_networks import EMULATED, calm

NAMES = ("refinedet320_vgg16", "efgrnet320_vgg16", "padet384_vgg16", "refinedetlite320_res2netlite72")
SHORT = ("refinedetlite320_res2netlite72",)
EXPORT = ("onnx", "onnxscript", "onnxruntime")  # the last one checks what is written
NEEDED: dict[str, tuple[str, ...]] = {"torch": (), "onnxruntime": EXPORT, "openvino": (*EXPORT, "openvino")}
LABELS = {"torch": "torch, optimized", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
DTYPES = ("float32", "bfloat16")
PHOTO = (480, 640)  # height, width


@functools.lru_cache(maxsize=1)
def folder() -> tempfile.TemporaryDirectory[str]:
    """Of the model files and of what they are converted to; it goes with the process."""
    return tempfile.TemporaryDirectory(prefix="refinedet-benchmarks-")


@functools.cache
def saved(name: str) -> Path:
    """A model with the statistics and thresholds that a trained one would have, as a file."""
    import refinedet

    model = calm(model_of(name))
    images = random_images(model, TRAINED_WITH)
    model = as_trained(with_statistics(model, images), images[:1])
    assert model.spec is not None
    changed = {"theta": model.config.theta, "nms": dataclasses.asdict(model.nms)}
    model.spec = dataclasses.replace(model.spec, options={**model.spec.options, **changed})
    return refinedet.save_model(model, Path(folder().name) / f"{name}.safetensors")


def predictor(path: Path, runtime: str, optimize: str) -> Any:
    """With as many threads as torch has."""
    import refinedet

    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(path.parent)
    try:
        return refinedet.Predictor.from_file(
            path, runtime=runtime, optimize=optimize, threads=torch.get_num_threads(), batch_size=1
        )
    finally:
        if before is None:
            del os.environ["XDG_CACHE_HOME"]
        else:
            os.environ["XDG_CACHE_HOME"] = before


class Fastest:
    """`runtime="auto"`, opened for each number of threads when it is called first, which is to check it."""

    def __init__(self, optimize: str) -> None:
        self.optimize = optimize
        self.opened: dict[tuple[Path, int], Any] = {}

    def __call__(self, path: Path, photo: np.ndarray) -> Any:
        key = (path, torch.get_num_threads())
        if key not in self.opened:
            self.opened[key] = predictor(path, "auto", self.optimize)
        return self.opened[key](photo, score_threshold=0.0)


def inputs(name: str) -> tuple[Path, np.ndarray]:
    noise = torch.randn(1, 3, *(side // 32 for side in PHOTO), generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(noise * 60 + 120, size=PHOTO, mode="bilinear")
    return saved(name), np.ascontiguousarray(smooth[0].permute(1, 2, 0).clamp(0, 255).byte().numpy())


def expected(path: Path, photo: np.ndarray) -> Any:
    return predictor(path, "torch", "off")(photo, score_threshold=0.0)


def peer(runtime: str, optimize: str, dtype: str) -> Peer:
    def prepare(path: Path, photo: np.ndarray) -> tuple[Any, np.ndarray]:
        return predictor(path, runtime, optimize), photo

    return Peer(lambda ready, photo: ready(photo, score_threshold=0.0), prepare, agrees(dtype))


def peers(dtype: str) -> dict[str, Peer | None]:
    found: dict[str, Peer | None] = {"torch": peer("torch", "off", dtype)} if dtype == "float32" else {}
    for runtime, needed in NEEDED.items():
        if runtime == "onnxruntime" and dtype != "float32":
            continue
        missing = any(optional(module) is None for module in needed)
        found[LABELS[runtime]] = None if missing else peer(runtime, dtype, dtype)
    return found


def alike(dtype: str) -> Callable[[Any, Any], None]:
    """AssertionError unless 97% of the detections of each are among the other's; in bfloat16, which moves scores over
    thresholds, unless there are about as many."""

    def compare(got: Any, wanted: Any) -> None:
        assert len(wanted) >= 20, f"{len(wanted)} detections, nothing to suppress"
        if dtype != "float32":
            assert abs(len(got) - len(wanted)) <= 0.25 * len(wanted), (len(got), len(wanted))
            return
        tables = [
            np.column_stack([one.labels, one.scores, one.boxes / (*one.size, *one.size)]) for one in (got, wanted)
        ]
        same = np.abs(tables[0][:, None] - tables[1]).max(axis=2) < 1e-3
        for alone in ((~same.any(axis=1)).sum(), (~same.any(axis=0)).sum()):
            assert alone <= max(2, 0.03 * len(wanted)), f"{alone} of {len(wanted)} detections without a counterpart"

    return compare


def agrees(dtype: str) -> Callable[[Any, Any], bool]:
    def same(got: Any, wanted: Any) -> bool:
        try:
            alike(dtype)(got, wanted)
        except AssertionError:
            return False
        return True

    return same


def cases() -> Iterator[Case]:
    if optional("refinedet") is None:
        raise ImportError("bench_runtimes needs the package refinedet with what it depends on: pip install '.[train]'")
    for name in NAMES:
        for dtype in DTYPES:
            yield Case(
                "network and runtime",
                f"{name}, photograph to detections",
                Fastest(dtype),
                functools.partial(inputs, name),
                expected,
                peers(dtype),
                dtype=dtype,
                compare=alike(dtype),
                flops=work(name, 1),
                targets=(Target(0.98),),
                short=name in SHORT and dtype == "float32",
                threads=(1, 2),
                skip=EMULATED if dtype == "bfloat16" and not multiplies_bfloat16() else "",
            )


def test_runtime(benchmark: Any, contestant: Any) -> None:
    contestant.time(benchmark)
