from __future__ import annotations

import pytest
import torch

from refinedet.necks import TransferConnectionPyramid


def test_each_block_hears_from_the_one_above():
    torch.manual_seed(0)
    pyramid = TransferConnectionPyramid((4, 6, 8), 16)
    sources = [torch.randn(2, c, s, s) for c, s in ((4, 16), (6, 8), (8, 4))]
    p3, p4, p5 = pyramid(sources)
    assert [tuple(p.shape) for p in (p3, p4, p5)] == [(2, 16, 16, 16), (2, 16, 8, 8), (2, 16, 4, 4)]
    b3, b4, b5 = pyramid.blocks
    torch.testing.assert_close(p5, b5(sources[2]))
    torch.testing.assert_close(p4, b4(sources[1], p5))
    torch.testing.assert_close(p3, b3(sources[0], p4))


def test_only_the_last_level_is_the_top():
    pyramid = TransferConnectionPyramid((4, 6, 8), 16, deconv_kernel=4, norm="batch")
    assert [block.deconv is None for block in pyramid.blocks] == [False, False, True]
    assert all(b.deconv_kernel == 4 and b.norm == "batch" for b in pyramid.blocks)


def test_one_level_is_a_top_block():
    (out,) = TransferConnectionPyramid((4,), 8)([torch.zeros(1, 4, 3, 3)])
    assert out.shape == (1, 8, 3, 3)


def test_wrong_number_of_maps_is_named():
    with pytest.raises(ValueError, match="sources: expected 2 maps, got 1"):
        TransferConnectionPyramid((4, 4), 8)([torch.zeros(1, 4, 3, 3)])
