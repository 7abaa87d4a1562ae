from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from refinedet.necks import FeatureEnrichment, MultiScaleContext, ObjectnessModule


def cbr(layers, x, *, stride=1, dilation=1, relu=True):
    """Convolution, batch norm with its running statistics, ReLU; written out."""
    conv, norm = layers[0], layers[1]
    size = conv.weight.shape[-1] // 2
    x = F.conv2d(x, conv.weight, None, stride, dilation * size, dilation)
    x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5)
    return x.relu() if relu else x


def randomized(module):
    """In eval mode, with norms that do something."""
    torch.manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(layer.weight)
            torch.nn.init.normal_(layer.bias)
    return module.eval()


@torch.no_grad()
def test_mscf_is_the_papers_figure():
    mscf = randomized(MultiScaleContext(32))
    images = torch.randn(1, 3, 64, 32)
    x = images
    for _ in range(3):
        x = F.max_pool2d(x, 2, 2)
    x = cbr(mscf.stem[1], cbr(mscf.stem[0], x))
    parts = [cbr(branch[1], cbr(branch[0], x), dilation=d) for branch, d in zip(mscf.branches, (1, 2, 4), strict=True)]
    want = cbr(mscf.fuse, torch.cat(parts, dim=1), relu=False)
    got = mscf(images)
    assert got.shape == (1, 32, 8, 4) and (got < 0).any()
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dilations", "parameters"), [((1,), 51_200), ((1, 2), 81_024), ((1, 2, 4), 110_848)])
def test_size_of_mscf(dilations, parameters):
    assert sum(p.numel() for p in MultiScaleContext(512, dilations).parameters()) == parameters


@torch.no_grad()
def test_objectness_module_multiplies_from_the_bottom_up():
    module = randomized(ObjectnessModule((8, 16, 4), (8, 16, 4), (True, False, False)))
    sources = [torch.randn(2, c, s, s) for c, s in ((8, 8), (16, 4), (4, 2))]
    guide = torch.randn(2, 8, 8, 8)
    first = cbr(module.fuse[0], (sources[0] * guide).relu())
    second = cbr(module.fuse[1], sources[1] * cbr(module.down[0], first, stride=2, relu=False))
    third = cbr(module.fuse[2], sources[2] * cbr(module.down[1], second, stride=2, relu=False))
    for got, want in zip(module(sources, guide), (first, second, third), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_narrow_maps_are_widened():
    channels = (32, 64, 32, 16)
    module = randomized(FeatureEnrichment(channels, fused_channels=(16,) * 4, residual_blocks=(2, 0, 0, 0)))
    images = torch.randn(1, 3, 128, 128)
    sources = [torch.randn(1, c, 16 >> level, 16 >> level) for level, c in enumerate(channels)]
    got = module(images, sources)
    assert [m.shape for m in got] == [s.shape for s in sources]
    fused = module.objectness(sources, module.mscf(images))
    x = fused[0]
    for bottleneck in module.widen[0][:2]:
        inner = x
        for layers in bottleneck.body:
            inner = cbr(layers, inner)
        x = (inner + x).relu()
    torch.testing.assert_close(got[0], cbr(module.widen[0][2], x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1], cbr(module.widen[1][0], fused[1]), rtol=1e-4, atol=1e-4)
    assert torch.equal(got[3], fused[3])


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"dilations: expected one or more integers of at least 1, got \(\)"):
        MultiScaleContext(32, ())
    with pytest.raises(ValueError, match="out_channels: expected a multiple of 16, got 40"):
        MultiScaleContext(40)
    with pytest.raises(ValueError, match="sources: expected 2 maps, got 1"):
        ObjectnessModule((8, 8), (8, 8), (False, False))([torch.zeros(1, 8, 2, 2)], torch.zeros(1, 8, 2, 2))


def test_guides_that_start_at_one_leave_the_maps_to_the_fusing_convolutions():
    torch.manual_seed(0)
    images, sources = torch.randn(2, 3, 64, 64), [torch.randn(2, 16, 8, 8), torch.randn(2, 32, 4, 4)]
    for guide_init, same in (("one", True), ("random", False)):
        enrichment = FeatureEnrichment((16, 32), guide_init=guide_init)  # in training mode
        alone = [fuse(x) for fuse, x in zip(enrichment.objectness.fuse, sources, strict=True)]
        found = enrichment(images, sources)
        assert [torch.equal(a, b) for a, b in zip(found, alone, strict=True)] == [same, same]
    with pytest.raises(ValueError, match="guide_init: expected"):
        FeatureEnrichment((16, 32), guide_init="two")
    # and they learn
    enrichment = FeatureEnrichment((16, 32), guide_init="one")
    sum(x.square().sum() for x in enrichment(images, sources)).backward()
    assert enrichment.mscf.fuse[1].weight.grad.abs().max() > 0
