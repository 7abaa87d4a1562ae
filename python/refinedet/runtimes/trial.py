"""Which of several runtimes is the fastest for a file on this machine: measured once and kept in the cache folder."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refinedet_ext import __version__

from .converted import NEEDED, cache_folder, digest
from .files import RUNTIMES

logger = logging.getLogger(__name__)

Candidate = tuple[str, str]
"""A runtime and the option optimize for it."""

OpenNetwork = Callable[[str, str], Callable[[Sequence[np.ndarray]], Any]]
"""From a runtime and the option optimize for it to the file's network there, called with images (H, W, 3) uint8."""

PHOTO = (480, 640)  # height, width
WARM_UP, CALLS, ROUNDS = 2, 5, 2
BUDGET = 2.0
"""Seconds after which a round of calls ends, with one call at least."""


def known_times(path: str | os.PathLike[str], candidates: Sequence[Candidate], **given: Any) -> dict[str, float] | None:
    """Milliseconds an image by runtime, as an earlier process of this machine measured them; None where none did.

    given: what the model is opened with, threads, input_size and options.
    """
    file = _file(path, candidates, given)
    try:
        times = json.loads(file.read_text(encoding="utf-8"))
    except OSError:  # not there; where the folder cannot be read, who writes it will say so
        return None
    except ValueError:
        times = None
    names = {runtime for runtime, _ in candidates}
    if isinstance(times, dict) and times and set(times) <= names and all(map(_is_time, times.values())):
        return times
    logger.warning("%s is not as it was written, the runtimes are measured once more", file)
    return None


def _is_time(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < math.inf


def measure_times(
    path: str | os.PathLike[str], candidates: Sequence[Candidate], open_network: OpenNetwork, **given: Any
) -> dict[str, float]:
    """Milliseconds an image by runtime, written down for `known_times` where the cache folder can be written.

    What cannot run the model is left out, with its error in the log; where nothing can, the first error is raised.
    """
    logger.info("%s: measuring %s, once", path, ", ".join(runtime for runtime, _ in candidates))
    photo = np.random.default_rng(0).integers(0, 256, (*PHOTO, 3), np.uint8)
    calls: dict[str, Callable[[], Any]] = {}
    errors: dict[str, Exception] = {}
    for runtime, optimize in candidates:
        try:
            calls[runtime] = partial(open_network(runtime, optimize), [photo])
        except (ValueError, ImportError) as error:  # a graph that cannot be written, a package that is missing
            errors[runtime] = error
    if not calls:
        raise next(iter(errors.values()))
    for runtime, reason in errors.items():
        logger.warning("runtime %s is left out: %s", runtime, reason)
    rounds: dict[str, list[float]] = {runtime: [] for runtime in calls}
    for _ in range(ROUNDS):
        for runtime, call in calls.items():
            rounds[runtime].append(time_of(call))
    times = {runtime: min(found) for runtime, found in rounds.items()}
    _write(_file(path, candidates, given), times)
    return times


def time_of(call: Callable[[], Any]) -> float:
    """Milliseconds of a call: the median of several, after some that are not counted."""
    for _ in range(WARM_UP):
        call()
    times: list[float] = []
    while len(times) < CALLS and (not times or sum(times) < BUDGET):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def _file(path: str | os.PathLike[str], candidates: Sequence[Candidate], given: Mapping[str, Any]) -> Path:
    """Named by all that the times depend on."""
    packages = dict.fromkeys([*(RUNTIMES[runtime] for runtime, _ in candidates), *NEEDED])
    versions = [_version(package) for package in packages]
    about = [__version__, digest(Path(path)), list(candidates), versions, _processor(), dict(given)]
    key = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:32]
    return cache_folder() / "times" / f"{key}.json"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # the same module of a package with another name
        return ""


def _processor() -> list[Any]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system
        return [platform.processor(), cores]
    return [sorted({line for line in lines if line.startswith(("model name", "flags"))}), cores]


def _write(file: Path, times: Mapping[str, float]) -> None:
    partial = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_text(json.dumps(dict(times)), encoding="utf-8")
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:  # such as a home that cannot be written; the choice holds without
        logger.warning("the times of the runtimes are not kept: %s", error)
