from __future__ import annotations

import pytest
import torch

from refinedet.backbones import SSDVGG16, VGG16, ConvStage


@pytest.fixture(scope="module")
def vgg():
    torch.manual_seed(0)
    return SSDVGG16((ConvStage(256, 256), ConvStage(128, 256))).eval()


def test_maps_have_the_promised_channels_and_strides(vgg):
    with torch.no_grad():
        maps = vgg(torch.randn(1, 3, 64, 128))
    assert vgg.out_channels == (512, 1024, 256, 256) and vgg.strides == (8, 16, 32, 64)
    expected = [(1, c, 64 // s, 128 // s) for c, s in zip(vgg.out_channels, vgg.strides, strict=True)]
    assert [tuple(m.shape) for m in maps] == expected
    assert all((m >= 0).all() for m in maps)


def test_pool5_keeps_the_resolution_and_fc6_is_dilated_by_six(vgg):
    pool5, fc6 = vgg.trunk[30], vgg.trunk[31]
    assert (pool5.kernel_size, pool5.stride, pool5.padding) == (3, 1, 1)
    assert fc6.dilation == (6, 6) and fc6.padding == (6, 6) and fc6.kernel_size == (3, 3)
    assert {k: v.shape for k, v in vgg.trunk.state_dict().items()} == {
        k: v.shape for k, v in VGG16().trunk.state_dict().items()
    }


def test_loads_the_reduced_file_and_its_own(vgg, tmp_path):
    reduced = {key: torch.randn_like(value) for key, value in vgg.trunk.state_dict().items()}
    torch.save(reduced, tmp_path / "vgg16_reducedfc.pth")
    extra = vgg.extras[0][0][0].weight.clone()
    vgg.load_weights(tmp_path / "vgg16_reducedfc.pth")
    assert torch.equal(vgg.trunk[31].weight, reduced["31.weight"]) and torch.equal(vgg.extras[0][0][0].weight, extra)
    torch.save(vgg.state_dict(), tmp_path / "own.pth")
    other = SSDVGG16((ConvStage(256, 256), ConvStage(128, 256)))
    other.load_weights(tmp_path / "own.pth")
    assert torch.equal(other.extras[0][0][0].weight, extra)
