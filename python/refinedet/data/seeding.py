"""Random numbers that depend on what they are for, not on which process draws them, and when."""

from __future__ import annotations

import numpy as np

_SAMPLE, _SHUFFLE, _REPLACEMENT = 1, 2, 3  # keeps the kinds of streams apart


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator for augmenting sample `index` in an epoch; the same whoever asks, and when."""
    return _generator(seed, _SAMPLE, epoch, index)


def shuffle_rng(seed: int, epoch: int) -> np.random.Generator:
    """The generator for the order of the samples in an epoch."""
    return _generator(seed, _SHUFFLE, epoch)


def replacement_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator for what stands in for sample `index` in an epoch, where that cannot be read."""
    return _generator(seed, _REPLACEMENT, epoch, index)


def _generator(seed: int, *key: int) -> np.random.Generator:
    if min(seed, *key) < 0:
        raise ValueError(f"seed, epoch and index: expected 0 or more, got {seed} and {key[1:]}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
