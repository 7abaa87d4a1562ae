from __future__ import annotations

import io

import pytest
import torch
from torch.utils import _pytree as pytree

import refinedet_ext as rx
from refinedet_ext import _pytree

KINDS = [rx.Detections, rx.KeptAnchors, rx.KeptBoxes, rx.Matches, rx.MinedLoss]


def make(kind):
    return kind(*(torch.full((2,), float(i)) for i in range(len(kind._fields))))


@pytest.mark.parametrize("kind", KINDS)
def test_trees_are_taken_apart_put_together_and_written_down(kind):
    leaves, spec = pytree.tree_flatten(make(kind))
    assert len(leaves) == len(kind._fields)
    again = pytree.tree_unflatten(leaves, pytree.treespec_loads(pytree.treespec_dumps(spec)))
    assert type(again) is kind
    assert all(map(torch.equal, again, make(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_with_weights_only(kind):
    file = io.BytesIO()
    torch.save(make(kind), file)
    file.seek(0)
    again = torch.load(file, weights_only=True)
    assert type(again) is kind
    assert all(map(torch.equal, again, make(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_described(kind):
    for field in kind._fields:
        assert f"{field}: " in kind.__doc__


def test_a_kind_of_ones_own():
    class Pair(rx.KeptAnchors):
        pass

    _pytree.register(Pair)
    pair = Pair(torch.zeros(1), torch.ones(1))
    spec = pytree.tree_structure(pair)
    assert pytree.treespec_loads(pytree.treespec_dumps(spec)) == spec
