"""Which detectors are measured, and their images per second."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..checks import check_choice, check_integer, check_range
from ..detectors import Detector
from ..detectors.published import PUBLISHED, Published, published_speeds
from ..devices import resolve_device
from ..export import export_onnx
from ..inference.images import load_image
from ..inference.network import Network, OneSize
from ..inference.sources import find_sources
from ..inference.video import is_video_name
from ..optimize import CHOICES, optimize_for_inference
from ..registry import create_model, list_models, model_entry
from ..runtimes import RUNTIMES, RuntimeModel, open_model
from ..weights import load_model, outline, read_header
from .machine import Machine, describe_machine
from .timing import time_calls
from .workload import SEED, make_as_busy_as_trained, noise_images, sized

OPTIMIZE = ("off", *CHOICES)
MOST_IMAGES = 64  # of those that are named: they are held in memory at the network's size
MOST_SECONDS = 86_400.0


@dataclass(frozen=True)
class Contestant:
    """A detector to measure. name: of the registry. file: of its weights; None is random ones.

    num_classes: including background. side: of its square input in pixels.
    """

    name: str
    file: Path | None
    num_classes: int
    side: int

    @property
    def label(self) -> str:
        return self.name if self.file is None else str(self.file)

    @property
    def published(self) -> list[Published]:
        """The papers' speeds, one image at a time; of a file that has another input than the paper's model, none."""
        same_size = self.side == model_entry(self.name).config.input_size
        return published_speeds(self.name) if same_size else []


@dataclass(frozen=True)
class SpeedRow:
    """The speed of a detector at one batch size.

    images_per_second, low, high: the median and the quartiles over the repetitions. milliseconds: of one image, by the
    median. detections: in an image, on average.
    """

    contestant: Contestant
    batch_size: int
    images_per_second: float
    low: float
    high: float
    milliseconds: float
    repetitions: int
    detections: float


@dataclass(frozen=True)
class SpeedReport:
    """What was measured, on what, and how. settings: the options, as JSON takes them."""

    machine: Machine
    settings: dict[str, Any]
    rows: list[SpeedRow]


def plan_speed(
    models: Sequence[str] | None = None, *, num_classes: int | None = None, input_size: int | None = None
) -> list[Contestant]:
    """The detectors that some names stand for, looked at without memory for their weights.

    models: names of the registry, patterns of such ("efgrnet*") and model files; None is every model with a published
    speed. num_classes: of random weights, including background; None is what the paper's figure was measured with: 21
    for VOC, 81 for COCO (21 where there is none). input_size: side in pixels; None is each model's own.

    ValueError for names and numbers that do not fit, FileNotFoundError for a missing file.
    """
    if num_classes is not None:
        check_integer(num_classes, "num_classes", 2)
    if models is None:
        models = [name for name in PUBLISHED if published_speeds(name)]
    if not models:
        raise ValueError("models: expected at least one name or file, got none")
    found: dict[str, Contestant] = {}
    for named in models:
        for contestant in _contestants(named, num_classes, input_size):
            found.setdefault(contestant.label, contestant)
    return list(found.values())


def measure_speed(
    contestants: Sequence[Contestant],
    *,
    device: str = "cpu",
    batch_sizes: Sequence[int] = (1, 8),
    threads: int | None = None,
    seconds: float = 10.0,
    optimize: str = "off",
    runtime: str = "torch",
    images: Sequence[str] | None = None,
    progress: bool = False,
) -> SpeedReport:
    """Images per second from images in memory, uint8 at the size of the input, to detections in their pixels.

    What is timed is what a `Predictor` does with images that are read and resized: the batch is put together and moved
    to the device, normalized, and goes through network, decoding and suppression; the detections come back as arrays.
    Two calls do not count, then calls are repeated for `seconds`, at least five. Other work on the machine shows in the
    quartiles, and in the median where it never rests.

    Random weights are prepared by `workload.make_as_busy_as_trained`: as many anchors pass the first stage's filter,
    and as many scores enter the suppression, as with a trained detector. Weights of a file are taken as they are; their
    suppression has as much to do as `images` give it.

    contestants: as `plan_speed` gives them. device: such as cpu or cuda. batch_sizes: images in a call. threads: of
    the network on the CPU; None leaves their number as it is. seconds: for each detector and batch size. optimize:
    "off", or the dtype of `optimize_for_inference`, on a CPU; in other runtimes the precision alone. runtime: "torch",
    "onnxruntime" or "openvino", in which networks run as exported, on a CPU. images: files, folders or patterns, of
    which up to 64 are used in turn; None is smooth noise. progress: show on stderr how far it is, where that is a
    terminal.

    Raises ValueError or FileNotFoundError for what does not fit before anything is measured; FloatingPointError for a
    network that overflows.
    """
    if not batch_sizes:
        raise ValueError("batch_sizes: expected at least one, got none")
    sizes = list(dict.fromkeys(check_integer(size, "batch_sizes", 1) for size in batch_sizes))
    check_range(seconds, "seconds", 0, MOST_SECONDS)
    check_choice(optimize, "optimize", OPTIMIZE)
    where = resolve_device(device)
    if optimize != "off" and where.type != "cpu":
        raise ValueError(f"optimize: expected off on {device}, as the copy runs on the CPU alone, got {optimize!r}")
    check_choice(runtime, "runtime", tuple(RUNTIMES))
    if runtime != "torch" and where.type != "cpu":
        raise ValueError(f"runtime: expected torch on {device}, as the others run on the CPU alone, got {runtime!r}")
    if threads is not None:
        check_integer(threads, "threads", 1)
    pixels = None if images is None else _read_images(images)
    rows: list[SpeedRow] = []
    with (
        _threads(threads),
        tqdm(total=len(contestants) * len(sizes), disable=None if progress else True, unit="row") as bar,
    ):
        machine = describe_machine(where)
        for contestant in contestants:
            bar.set_description(contestant.label)
            side = contestant.side
            inputs = noise_images(max(sizes), side) if pixels is None else sized(pixels, side)
            model = _build(contestant, inputs, where)
            other = None if runtime == "torch" else _in_runtime(model, side, runtime, threads, optimize)
            for size in sizes:
                network: Network = OneSize(model, side) if other is None else other
                if other is None and optimize != "off":
                    fast = optimize_for_inference(model, dtype=optimize, input_size=side, batch_size=size)
                    network = OneSize(fast, side)
                rows.append(_measure(contestant, network, inputs, size, seconds))
                bar.update()
    settings = {
        "device": device,
        "seconds": seconds,
        "optimize": optimize,
        "runtime": runtime,
        "images": None if images is None else list(images),
    }
    return SpeedReport(machine, settings, rows)


def _measure(
    contestant: Contestant, network: Network, images: Sequence[np.ndarray], batch_size: int, seconds: float
) -> SpeedRow:
    """Of whatever takes images and gives detections."""
    endless = itertools.cycle(images)
    found: list[int] = []

    def call() -> None:
        batch = list(itertools.islice(endless, batch_size))
        found.extend(map(len, network(batch)))

    times = time_calls(call, seconds=seconds)
    return SpeedRow(
        contestant,
        batch_size,
        images_per_second=batch_size / times.median,
        low=batch_size / times.high,
        high=batch_size / times.low,
        milliseconds=1e3 * times.median / batch_size,
        repetitions=times.repetitions,
        detections=float(np.mean(found)),
    )


def _contestants(named: str, num_classes: int | None, input_size: int | None) -> list[Contestant]:
    if named.endswith(".safetensors") or os.path.isfile(named):
        if num_classes is not None:
            raise ValueError(f"num_classes: expected None beside {named}, which has its own, got {num_classes}")
        file = Path(named).expanduser()
        spec = read_header(file)["model"]
        model = outline(spec["name"], spec["num_classes"], spec["options"], source=str(file))
        return [Contestant(spec["name"], file, spec["num_classes"], model.input_side(input_size))]
    names = list_models(named)
    if not names:
        try:
            model_entry(named)
        except ValueError as error:  # it knows the closest names
            raise ValueError(f"models: {str(error).removeprefix('name: ')}") from None
    found = []
    for name in names:
        classes = num_classes or _published_classes(name)
        with torch.device("meta"):
            side = create_model(name, classes).input_side(input_size)
        found.append(Contestant(name, None, classes, side))
    return found


def _published_classes(name: str) -> int:
    speeds = published_speeds(name)
    return 81 if speeds and speeds[0].dataset.startswith("COCO") else 21


def _build(contestant: Contestant, images: Sequence[np.ndarray], device: torch.device) -> Detector:
    if contestant.file is not None:
        return load_model(contestant.file, device=device).model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = create_model(contestant.name, contestant.num_classes)
    model.to(device)
    make_as_busy_as_trained(model, images)
    return model


def _in_runtime(model: Detector, side: int, runtime: str, threads: int | None, optimize: str) -> RuntimeModel:
    """The same network, thresholds and suppression in another runtime, for any number of images."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(model, file, input_size=side, batch_size=2, dynamic_batch=True)
        return open_model(file, runtime, threads=threads, optimize=optimize)


def _read_images(named: Iterable[str]) -> list[np.ndarray]:
    sources = find_sources(named)
    for source in sources:
        if isinstance(source, int) or is_video_name(source):
            raise ValueError(f"images: expected image files, got {'a camera' if isinstance(source, int) else source}")
    if not sources:
        raise ValueError("images: expected at least one, got none")
    return [load_image(source) for source in sources[:MOST_IMAGES]]


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
