from __future__ import annotations

import pytest
import torch

from refinedet.backbones import SmallNet


@pytest.mark.parametrize("size", [(64, 64), (128, 192)])
def test_maps_have_the_promised_channels_and_strides(size):
    net = SmallNet().eval()
    with torch.no_grad():
        maps = net(torch.randn(2, 3, *size))
    expected = [(2, c, size[0] // s, size[1] // s) for c, s in zip(net.out_channels, net.strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected


def test_it_is_small():
    assert 0.5e6 < sum(p.numel() for p in SmallNet().parameters()) < 2e6


def test_channels_are_multiples_of_sixteen():
    # with others (24, 48) the CPU convolutions of torch fall off a cliff in the channels_last layout
    assert all(p.shape[0] % 16 == 0 for p in SmallNet().parameters())


def test_widths_and_depths_are_arguments():
    net = SmallNet(stem=(16, 16), channels=(32, 32, 48, 64), depths=(1, 0, 0, 2))
    assert net.out_channels == (32, 32, 48, 64)
    assert [m.shape[1] for m in net.eval()(torch.randn(1, 3, 64, 64))] == [32, 32, 48, 64]


def test_trains_with_one_image_in_the_batch():
    net = SmallNet().train()
    maps = net(torch.randn(1, 3, 128, 128))
    sum(m.sum() for m in maps).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_loads_its_own_state_dict_and_nothing_else(tmp_path):
    net, other = SmallNet(), SmallNet()
    torch.save(net.state_dict(), tmp_path / "small.pth")
    other.load_weights(tmp_path / "small.pth")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))
    torch.save({"0.weight": torch.zeros(1)}, tmp_path / "vgg.pth")
    with pytest.raises(ValueError, match="does not fit SmallNet; missing: stem.0.0.weight"):
        other.load_weights(tmp_path / "vgg.pth")
