from __future__ import annotations

import pytest
import torch

from refinedet.losses import filter_candidates

#          two objects, two backgrounds, two ignored; of each pair the ARM takes the second for background
LABELS = torch.tensor([[3, 5, 0, 0, -1, -1]])
KEPT = torch.tensor([[True, False, True, False, True, False]])


def test_caffe_never_drops_a_positive_and_mines_only_kept_negatives():
    found = filter_candidates("caffe", LABELS, KEPT)
    mining, eligible = found
    assert found.positive.tolist() == [[True, True, False, False, False, False]]
    assert torch.equal(mining, LABELS) and torch.equal(eligible, KEPT)


def test_paper_drops_both():
    found = filter_candidates("paper", LABELS, KEPT)
    mining, eligible = found
    assert found.positive.tolist() == [[True, False, False, False, False, False]]
    assert mining.tolist() == [[3, -1, 0, -1, -1, -1]] and eligible is None


def test_peers_turn_dropped_positives_into_competitors_of_the_negatives():
    found = filter_candidates("peers", LABELS, KEPT)
    mining, eligible = found
    assert found.positive.tolist() == [[True, False, False, False, False, False]]
    assert mining.tolist() == [[1, 0, 0, 0, -1, -1]] and eligible is None


def test_none_changes_nothing():
    found = filter_candidates("none", LABELS, KEPT)
    mining, eligible = found
    assert torch.equal(found.positive, LABELS > 0) and torch.equal(mining, LABELS) and eligible is None


def test_unknown_rule_is_named():
    with pytest.raises(ValueError, match="filtering: expected one of .*, got 'all'"):
        filter_candidates("all", LABELS, KEPT)
