"""Less memory for activations, at the price of computing them twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..backbones.base import Backbone


def checkpoint_activations(backbone: Backbone) -> None:
    """Let the blocks of a network keep their input alone, and compute the rest again for the gradients.

    A block is what a Sequential or a ModuleList holds and has parts of its own: residual blocks, stages of convolution
    and norm. A VGG, which has none, does the same between its pooling layers. Gradients and running statistics stay
    what they were.
    """
    backbone.recompute = True
    for block in _blocks(backbone):
        block.forward = partial(_run, block, block.forward)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost blocks."""
    for child in module.children():
        inside = isinstance(module, (nn.Sequential, nn.ModuleList)) and next(child.children(), None) is not None
        if inside and not isinstance(child, (nn.Sequential, nn.ModuleList)):
            yield child
        else:
            yield from _blocks(child)


def _run(block: nn.Module, forward: Any, *args: Any) -> Any:
    if not block.training:
        return forward(*args)
    return checkpoint(
        forward, *args, use_reentrant=False, context_fn=lambda: (nullcontext(), _without_statistics(block))
    )


@contextmanager
def _without_statistics(block: nn.Module) -> Iterator[None]:
    """The second time a batch passes, the running statistics of the batch norms do not move."""
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
