from __future__ import annotations

import pytest
import torch
from torch import nn

from refinedet.heads import BoxHeads, flatten_maps


def test_flatten_follows_level_row_column_anchor():
    first = torch.arange(2 * 6 * 2 * 3).view(2, 6, 2, 3)  # 3 anchors of width 2 on a 2 x 3 map
    second = torch.arange(2 * 6).view(2, 6, 1, 1) + 1000
    flat = flatten_maps([first, second], 2)
    assert flat.shape == (2, 2 * 3 * 3 + 3, 2)
    image, row, column, anchor, value = 1, 1, 2, 2, 1
    index = (row * 3 + column) * 3 + anchor
    assert flat[image, index, value] == first[image, anchor * 2 + value, row, column]
    assert flat[image, 18 + anchor, value] == second[image, anchor * 2 + value, 0, 0]


def test_shapes_with_different_anchors_per_level():
    heads = BoxHeads((8, 4), (6, 4), num_classes=5)
    scores, offsets = heads([torch.zeros(2, 8, 4, 4), torch.zeros(2, 4, 2, 2)])
    assert scores.shape == (2, 4 * 4 * 6 + 2 * 2 * 4, 5)
    assert offsets.shape == (2, 4 * 4 * 6 + 2 * 2 * 4, 4)


def test_one_branch_alone():
    both, x = BoxHeads((8,), (3,), num_classes=5), [torch.zeros(1, 8, 4, 4)]
    for name, other in (("cls", "loc"), ("loc", "cls")):
        heads = BoxHeads((8,), (3,), num_classes=5, branches=name)
        assert set(heads.state_dict()) == {key for key in both.state_dict() if not key.startswith(other)}
        found = dict(zip(("cls", "loc"), heads.level_maps(x), strict=True))
        assert len(found[name]) == 1 and found[other] == []
    with pytest.raises(ValueError, match="branches: expected one of"):
        BoxHeads((8,), (3,), num_classes=5, branches="score")


def test_channels_last_gives_the_same():
    heads, x = BoxHeads((8,), (3,), num_classes=5), torch.randn(2, 8, 4, 4)
    for a, b in zip(heads([x]), heads([x.to(memory_format=torch.channels_last)]), strict=True):
        torch.testing.assert_close(a, b)


def test_blocks_stand_before_both_convolutions():
    heads = BoxHeads((8,), (3,), num_classes=5, kernel_size=1, blocks=[nn.Conv2d(4, 8, 1)])
    x = torch.randn(1, 4, 3, 3)
    scores, offsets = heads.level_maps([x])
    torch.testing.assert_close(scores[0], heads.cls[0](heads.blocks[0](x)))
    torch.testing.assert_close(offsets[0], heads.loc[0](heads.blocks[0](x)))


def test_batch_without_images():
    scores, offsets = BoxHeads((8,), (3,), num_classes=5)([torch.zeros(0, 8, 4, 4)])
    assert scores.shape == (0, 48, 5) and offsets.shape == (0, 48, 4)


def test_wrong_numbers_of_levels_are_named():
    with pytest.raises(ValueError, match="anchors: expected one number for each of 2 levels, got"):
        BoxHeads((8, 8), (3,), num_classes=2)
    with pytest.raises(ValueError, match="maps: expected 1 levels, got 2"):
        BoxHeads((8,), (3,), num_classes=2)([torch.zeros(1, 8, 2, 2)] * 2)


def test_boxes_can_have_blocks_of_their_own():
    blocks, own = [nn.Conv2d(4, 8, 1)], [nn.Conv2d(4, 8, 1)]
    heads = BoxHeads((8,), (3,), num_classes=5, kernel_size=1, blocks=blocks, loc_blocks=own)
    x = torch.randn(1, 4, 3, 3)
    scores, offsets = heads.level_maps([x])
    torch.testing.assert_close(scores[0], heads.cls[0](blocks[0](x)))
    torch.testing.assert_close(offsets[0], heads.loc[0](own[0](x)))
