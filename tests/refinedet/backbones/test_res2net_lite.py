from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from refinedet.backbones import Res2NetLite
from refinedet.backbones.res2net_lite import Bottleneck, Res2Block, ResBlock


def on_meta(**options):
    with torch.device("meta"):
        return Res2NetLite(**options).eval()


def giga_macs(module, size):
    with FlopCounterMode(display=False) as counter:
        module(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("options", "parameters", "at_224", "at_320"),
    [
        ({}, 4.788e6, 0.654, 1.335),
        ({"groups": 1}, 5.623e6, 0.753, 1.538),
        ({"groups": "depthwise"}, 3.971e6, 0.558, 1.139),
        ({"mid_div": 1}, 19.822e6, 2.591, 5.287),
    ],
)
def test_parameters_and_operations_of_the_classifiers_part(options, parameters, at_224, at_320):
    trunk = on_meta(**options).trunk
    assert sum(p.numel() for p in trunk.parameters()) == pytest.approx(parameters, abs=500)
    assert giga_macs(trunk, 224) == pytest.approx(at_224, abs=6e-4)
    assert giga_macs(trunk, 320) == pytest.approx(at_320, abs=6e-4)


def test_maps_of_the_paper():
    net = on_meta()
    maps = net(torch.empty(1, 3, 320, 320, device="meta"))
    assert [tuple(m.shape[1:]) for m in maps] == [(576, 20, 20), (1152, 10, 10), (512, 5, 5), (512, 3, 3)]
    assert net.out_channels == (576, 1152, 512, 512) and net.strides == (16, 32, 64, 128)
    outputs = [tuple(layer(torch.empty(1, 3, 224, 224, device="meta")).shape) for layer in stages(net)]
    assert outputs == [(1, 32, 56, 56), (1, 288, 28, 28), (1, 576, 14, 14), (1, 1152, 7, 7)]


def stages(net):
    """The stem and the network up to each stage."""
    return [net.trunk[:count] for count in (3, 4, 5, 6)]


def test_depths_and_layout_of_the_stages():
    net = on_meta()
    stages = [net.trunk.stage1, net.trunk.stage2, net.trunk.stage3]
    assert [len(stage) for stage in stages] == [4, 8, 4]
    assert all(isinstance(stage[0], Bottleneck) for stage in stages)
    assert all(isinstance(block, Res2Block) for stage in stages for block in stage[1:])
    assert isinstance(net.trunk.norm, torch.nn.BatchNorm2d)


def test_res2block_is_the_chain_of_its_docstring():
    torch.manual_seed(0)
    block, x = Res2Block(16, 8, groups=2).eval(), torch.randn(2, 16, 5, 5)
    k2, k3, k4 = block.chain
    x1, x2, x3, x4 = block.reduce(x).split(2, dim=1)
    y2 = k2(x2)
    y3 = k3(x3 + y2)
    want = torch.relu(x + block.expand(torch.cat([x1, y2, y3, k4(x4 + y3)], dim=1)))
    torch.testing.assert_close(block(x), want)


def test_blocks_by_their_shapes():
    # a quarter of the output's channels in the middle, two groups in every 3x3, no shortcut
    reduce, spatial, expand = Bottleneck(32, 288)
    assert [tuple(part[0].weight.shape) for part in (reduce, spatial, expand)] == [
        (72, 32, 1, 1),
        (72, 36, 3, 3),
        (288, 72, 1, 1),
    ]
    assert spatial[0].stride == (2, 2)
    assert [tuple(conv[0].weight.shape) for conv in Res2Block(288, 72).chain] == [(18, 9, 3, 3)] * 3
    assert ResBlock(288, 72).body[1][0].weight.shape == (72, 72, 3, 3)  # dense, whatever the bottlenecks' groups
    block = ResBlock(8, 4).eval()
    x = torch.randn(1, 8, 3, 3)
    torch.testing.assert_close(block(x), torch.relu(x + block.body(x)))


def test_plain_blocks_for_the_ablation():
    net = on_meta(block="residual")
    assert all(isinstance(block, ResBlock) for block in net.trunk.stage2[1:])


def test_input_norm_makes_scale_and_shift_of_the_pixels_irrelevant_in_training():
    norm, images = Res2NetLite(width=8, mid_div=1).train().trunk.norm, torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(norm(images), norm(images * 255 - 100), rtol=1e-3, atol=1e-3)


def test_loads_its_own_state_or_a_classifiers_trunk(tmp_path):
    net, whole, part = (Res2NetLite(width=8, mid_div=1) for _ in range(3))
    torch.save(net.state_dict(), tmp_path / "whole.pth")
    torch.save(net.trunk.state_dict(), tmp_path / "trunk.pth")
    whole.load_weights(tmp_path / "whole.pth")
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), whole.parameters(), strict=True))
    extras = [p.clone() for p in part.extras.parameters()]
    part.load_weights(tmp_path / "trunk.pth")
    assert all(torch.equal(a, b) for a, b in zip(net.trunk.parameters(), part.trunk.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(extras, part.extras.parameters(), strict=True))
    torch.save({"0.weight": torch.zeros(1)}, tmp_path / "vgg.pth")
    with pytest.raises(ValueError, match="does not fit Sequential; missing: norm.weight"):
        part.load_weights(tmp_path / "vgg.pth")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 70}, "width: expected a multiple of 4, got 70"),
        ({"width": 0}, "width: expected an integer of at least 4, got 0"),
        ({"mid_div": 3}, r"mid_div: expected one of \[4, 2, 1\], got 3"),
        ({"groups": 0}, "groups: expected an integer of at least 1, got 0"),
        ({"groups": 5}, "groups: expected a divisor of the 72 channels of a 3x3, got 5"),
        ({"groups": 4}, "groups: expected a divisor of the 18 channels of a 3x3, got 4"),
        ({"groups": "depth"}, "groups: expected an integer of at least 1, got 'depth'"),
        ({"block": "res"}, r"block: expected one of \['res2', 'residual'\], got 'res'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Res2NetLite(**options)
