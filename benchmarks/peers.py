"""Peers that may not be installed, and torch.compile with a limit of time."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import torch

from .case import Op, Peer

COMPILE_SECONDS = 60


def optional(module: str) -> Any:
    """The module, None where it is not installed or does not load."""
    try:
        return importlib.import_module(module)
    except Exception:  # an extension built for another torch fails in many ways
        return None


def torchvision_ops() -> Any:
    return optional("torchvision.ops")


def mmcv_ops() -> Any:
    return optional("mmcv.ops")


def version_of(module: str) -> str:
    """ "missing" where it is not installed."""
    found = optional(module)
    if found is None:
        return "missing"
    if hasattr(found, "__version__"):
        return str(found.__version__)
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return "installed"


def peer_of(library: Any, make: Callable[[Any], Op], **rest: Any) -> Peer | None:
    """A peer from a library that may be None."""
    return None if library is None else Peer(make(library), **rest)


def reference_peer(op: Op, *, compile: bool = False, **rest: Any) -> dict[str, Peer]:
    """The plain-PyTorch reference as a peer, and torch.compile of it where that makes sense."""
    peers = {"reference": Peer(op, **rest)}
    if compile:
        peers["torch.compile"] = Peer(op, compile=True, **rest)
    return peers


class Limit(Exception):
    """A call took longer than it was given."""


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """Raises Limit in the body after so many seconds; in the main thread of a Unix process, elsewhere not at all."""

    def stop(*_: object) -> None:
        raise Limit(f"not ready within {seconds:.0f} s")

    try:
        before = signal.signal(signal.SIGALRM, stop)
    except (ValueError, AttributeError):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def compiled(op: Op) -> Op:
    """As torch.compile makes it, for the shapes of the first call."""
    torch._dynamo.reset()
    return torch.compile(op, dynamic=False)
