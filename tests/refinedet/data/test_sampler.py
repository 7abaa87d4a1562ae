from __future__ import annotations

import numpy as np
import pytest
from torch.utils.data import DistributedSampler

from refinedet.data.sampler import EpochSampler
from refinedet.data.seeding import sample_rng, shuffle_rng


def items(count: int, epoch: int = 0, **options: object) -> list[int]:
    sampler = EpochSampler(range(count), **{"shuffle": False, **options})  # type: ignore[arg-type]
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert len(keys) == len(sampler)
    assert all(key.epoch == epoch for key in keys)
    return [key.item for key in keys]


def test_in_order_without_shuffling() -> None:
    assert items(5) == [0, 1, 2, 3, 4]
    assert items(5, epoch=3) == [0, 1, 2, 3, 4]
    assert items(0) == []


def test_the_order_follows_from_seed_and_epoch() -> None:
    orders = {(s, e): items(50, e, shuffle=True, seed=s) for s in (0, 1) for e in (0, 1)}
    assert all(sorted(order) == list(range(50)) for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == 4
    assert items(50, 1, shuffle=True, seed=1) == orders[1, 1]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("count", "world"), [(10, 1), (10, 2), (10, 3), (2, 5), (9, 3)])
def test_processes_share_the_samples(count: int, world: int, shuffle: bool) -> None:
    def ranks(remainder: str) -> list[list[int]]:
        return [
            items(count, 4, shuffle=shuffle, rank=rank, world_size=world, remainder=remainder) for rank in range(world)
        ]

    whole = list(range(count))
    each_once = ranks("uneven")
    assert sorted(sum(each_once, [])) == whole
    assert max(map(len, each_once)) - min(map(len, each_once)) <= 1
    padded = ranks("pad")
    assert {len(part) for part in padded} == {-(-count // world)}
    assert sorted(set(sum(padded, []))) == whole
    cut = ranks("drop")
    assert {len(part) for part in cut} == {count // world}
    assert len(set(sum(cut, []))) == count // world * world


def test_lightning_leaves_a_distributed_sampler_alone() -> None:
    assert isinstance(EpochSampler(range(3), shuffle=True), DistributedSampler)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 2, "world_size": 2}, "rank: expected 0 to 1, got 2"),
        ({"rank": -1, "world_size": 2}, "rank: expected 0 to 1, got -1"),
        ({"remainder": "keep"}, "remainder: expected 'pad', 'drop' or 'uneven', got 'keep'"),
        ({"seed": -1}, "seed: expected 0 or more, got -1"),
    ],
)
def test_refuses(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpochSampler(range(3), shuffle=True, **options)


def test_generators_differ_in_every_argument() -> None:
    draws = [sample_rng(*key).random(4) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]]
    draws += [shuffle_rng(0, 0).random(4), shuffle_rng(1, 0).random(4), shuffle_rng(0, 1).random(4)]
    assert len({tuple(draw) for draw in draws}) == len(draws)
    np.testing.assert_array_equal(sample_rng(3, 4, 5).random(4), sample_rng(3, 4, 5).random(4))
    with pytest.raises(ValueError, match="seed, epoch and index: expected 0 or more, got 0"):
        sample_rng(0, -1, 0)
