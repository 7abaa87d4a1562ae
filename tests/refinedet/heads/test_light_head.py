from __future__ import annotations

import torch

from refinedet.heads import BoxHeads, LightHead


def test_two_paths_summed():
    head, x = LightHead(6, channels=8, inner=4).eval(), torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(head(x), head.direct(x) + head.bottleneck(x))
    assert head(x).shape == (2, 8, 5, 5) and (head(x) >= 0).all()


def test_widths_of_the_paper():
    head = LightHead(576)
    shapes = [tuple(m.weight.shape) for m in head.modules() if isinstance(m, torch.nn.Conv2d)]
    assert shapes == [(256, 576, 1, 1), (128, 576, 1, 1), (128, 128, 3, 3), (256, 128, 1, 1)]


def test_boxes_share_the_scores_light_head_or_have_their_own():
    x = [torch.randn(1, 4, 3, 3)]
    shared = BoxHeads((8,), (3,), 5, kernel_size=1, blocks=[LightHead(4, 8, 4)]).eval()
    scores, offsets = shared.level_maps(x)
    torch.testing.assert_close(offsets[0], shared.loc[0](shared.blocks[0](x[0])))
    own = BoxHeads((8,), (3,), 5, kernel_size=1, blocks=[LightHead(4, 8, 4)], loc_blocks=[LightHead(4, 8, 4)]).eval()
    scores, offsets = own.level_maps(x)
    torch.testing.assert_close(scores[0], own.cls[0](own.blocks[0](x[0])))
    torch.testing.assert_close(offsets[0], own.loc[0](own.loc_blocks[0](x[0])))
