"""`runtime="auto"`: the runtime that this machine runs a model fastest with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .files import MODEL, is_installed, kind_of, runtimes_of
from .trial import OpenNetwork, known_times, measure_times


class Choice(NamedTuple):
    """runtime: its name. optimize: the option for it. reason: for people."""

    runtime: str
    optimize: str
    reason: str


def choose(
    path: str | os.PathLike[str],
    open_network: OpenNetwork,
    *,
    optimize: str = "off",
    in_torch: str = "",
    threads: int | None = None,
    input_size: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> Choice:
    """The runtime for a file, of those that are installed and can run it: the one that this machine runs fastest.

    Where there are several, each is measured on one image, once: the times are kept in the user's cache folder, for
    this file, this number of threads and these versions. One of several processes (torchrun) measures nothing, as the
    others would be in its way, and all are to choose alike: without kept times it takes what is mostly the fastest.

    open_network: opens the file in one of them, to be measured. optimize: as for `Predictor`: "auto" allows bfloat16,
    "bfloat16" wants it, the others ask for float32. in_torch: what is asked for that a detector in torch alone can do,
    in words; empty for nothing. threads, input_size, options: what the model is to be opened with.

    FileNotFoundError without the file, ImportError where nothing that runs it is installed, and where several are to be
    measured the errors of opening the model where none can run it.
    """
    possible = runtimes_of(path)
    installed = [name for name in possible if is_installed(name)]
    if not Path(path).is_file():
        raise FileNotFoundError(f"weights: no file {path}")
    if not installed:
        raise ImportError(f"runtime: {path} runs with {' or '.join(possible)}, and none of them is installed")
    detector = "torch" in installed and kind_of(path) == MODEL
    if in_torch and detector:
        return Choice("torch", optimize, "no other runtime has what is asked for")
    candidates = _candidates(installed, optimize, detector)
    if len(candidates) == 1:
        alone = "the only one that runs such files" if len(possible) == 1 else "no other is installed"
        return Choice(*candidates[0], alone if len(installed) == 1 else "no other that is installed has bfloat16")
    given = {"threads": threads, "input_size": input_size, "options": dict(options or {})}
    times = known_times(path, candidates, **given)
    if times is None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Choice(*candidates[0], "mostly the fastest; a process that runs alone measures it")
    times = times or measure_times(path, candidates, open_network, **given)
    order = sorted(times, key=times.__getitem__)
    told = ", ".join(f"{name} {times[name]:.3g} ms" for name in order)
    return Choice(order[0], dict(candidates)[order[0]], f"the fastest here: {told} an image")


def _candidates(installed: Sequence[str], optimize: str, detector: bool) -> list[tuple[str, str]]:
    """Runtimes, each with the option optimize for it, in the order of what is mostly the fastest.

    ONNX Runtime has no bfloat16 on CPUs; where that is allowed and not wanted, it still may be the fastest.
    """
    in_torch = "float32" if detector and optimize == "off" else optimize
    float32 = "float32" if optimize == "auto" else optimize
    found = {"openvino": optimize, "onnxruntime": float32, "torch": in_torch}
    if optimize == "bfloat16" and len(installed) > 1:
        del found["onnxruntime"]
    return [(name, asked) for name, asked in found.items() if name in installed]
