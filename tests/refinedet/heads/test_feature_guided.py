from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils import prune

from refinedet.heads import FeatureGuidedRefinement
from refinedet.heads.feature_guided import OFFSET_SOURCES, box_offsets, objectness_map

ANCHORS, CHANNELS = 3, 4


def block(**options):
    torch.manual_seed(0)
    return FeatureGuidedRefinement(CHANNELS, 5, ANCHORS, dilation=2, **options).eval()


def inputs(size=6):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, width, size, size, generator=generator) for width in (CHANNELS, 2 * ANCHORS, 4 * ANCHORS)]


def sampled(image, y, x):
    """One channel of one image at a fractional position, zero outside; plain Python."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += float(image[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def test_objectness_is_the_best_anchors_object_logit():
    logits = torch.zeros(1, 6, 1, 2)
    logits[0, :, 0, 0] = torch.tensor([9.0, -1.0, 9.0, 2.0, 9.0, 0.5])  # background, object of each anchor
    got = objectness_map(logits)
    torch.testing.assert_close(got, torch.tensor([[[[2.0, 0.0]]]]).sigmoid())


def test_offsets_are_gathered_by_coordinate():
    deltas = torch.arange(12.0).reshape(1, 12, 1, 1)  # dx dy dw dh of the first anchor, then of the second, ...
    assert box_offsets(deltas, "position").flatten().tolist() == [0, 4, 8, 1, 5, 9]
    assert box_offsets(deltas, "size").flatten().tolist() == [2, 6, 10, 3, 7, 11]
    assert box_offsets(deltas, "box").flatten().tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


@pytest.mark.parametrize("options", [{"offset_source": "own"}, {"offset_act": False}, {"offset_source": "dilated"}])
def test_without_offsets_it_is_a_dilated_convolution(options):
    x, logits, deltas = inputs()
    layer = block(**options)  # the plain convolutions that give offsets start at zero
    guided = x * logits[:, 1::2].max(dim=1, keepdim=True).values.sigmoid() + x
    want = layer.norm(F.conv2d(guided, layer.align.weight, padding=2, dilation=2)).relu()
    torch.testing.assert_close(layer(x, logits, deltas), want)
    plain = block(objectness=False, **options)
    want = plain.norm(F.conv2d(x, plain.align.weight, padding=2, dilation=2)).relu()
    torch.testing.assert_close(plain(x, logits, deltas), want)


@pytest.mark.parametrize("source", ["position", "size", "box", "own"])
@pytest.mark.parametrize("act", [True, False])
def test_against_the_equations_written_out(source, act):
    x, logits, deltas = inputs(size=4)
    layer = block(offset_source=source, offset_act=act)
    if layer.offset is not None and isinstance(layer.offset, torch.nn.Conv2d):
        torch.nn.init.normal_(layer.offset.weight, std=0.3)
    got = layer(x, logits, deltas)
    guided = x * logits[:, 1::2].max(dim=1, keepdim=True).values.sigmoid() + x
    offsets = layer.offset(guided if source == "own" else box_offsets(deltas, source)).detach()
    image, out_channel = 1, 3
    weight = layer.align.weight[out_channel].detach()
    for row, column in ((0, 0), (2, 3), (3, 1)):
        total = 0.0
        for tap in range(9):
            dy, dx = (float(offsets[image, 2 * tap + k, row, column]) for k in (0, 1))
            y, x_ = row + 2 * (tap // 3 - 1) + dy, column + 2 * (tap % 3 - 1) + dx
            for channel in range(CHANNELS):
                value = sampled(guided[image, channel], y, x_)
                total += float(weight[channel, tap // 3, tap % 3]) * value
        want = max(0.0, total / math.sqrt(1 + layer.norm.eps))  # untouched running statistics
        assert got[image, out_channel, row, column].item() == pytest.approx(want, abs=1e-4)


def test_the_released_codes_offsets_are_not_negative():
    _, _, deltas = inputs()
    released, plain = block(), block(offset_act=False)
    assert (released.offset(box_offsets(deltas, "position")) >= 0).all()
    assert [type(m).__name__ for m in released.offset] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert plain.offset.bias is not None


@pytest.mark.parametrize("source", OFFSET_SOURCES)
def test_gradients_reach_what_the_offsets_come_from(source):
    x, logits, deltas = (t.requires_grad_() for t in inputs())
    layer = block(offset_source=source).train()
    layer(x, logits, deltas).square().sum().backward()
    assert x.grad.any() and logits.grad[:, 1::2].any() and not logits.grad[:, 0::2].any()
    if source in ("own", "dilated"):
        assert deltas.grad is None
    else:
        moved = {"position": (0, 1), "size": (2, 3), "box": (0, 1, 2, 3)}[source]
        assert [bool(deltas.grad[:, c::4].any()) for c in range(4)] == [c in moved for c in range(4)]


def test_wrong_source_is_named():
    with pytest.raises(ValueError, match="offset_source: expected one of"):
        block(offset_source="nothing")


@pytest.mark.parametrize("source", OFFSET_SOURCES)
def test_its_layers_are_called_as_layers(source):
    """Hooks see every call, and pruned weights are made anew for each step."""
    block = FeatureGuidedRefinement(4, 6, 3, dilation=2, offset_source=source)
    calls = []
    for child in block.children():
        child.register_forward_hook(lambda module, args, out: calls.append(module))
    prune.l1_unstructured(block.align, "weight", 0.5)
    x, logits, deltas = torch.randn(2, 4, 5, 5), torch.randn(2, 6, 5, 5), torch.randn(2, 12, 5, 5)
    optimizer = torch.optim.SGD(block.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        block(x, logits, deltas).square().sum().backward()
        optimizer.step()
    assert set(calls) == set(block.children()) and len(calls) == 2 * len(list(block.children()))
    assert (block.align.weight == 0).float().mean() >= 0.5


def test_the_plain_convolution_has_the_weights_key_of_the_deformable_one():
    plain, other = (FeatureGuidedRefinement(4, 6, 3, dilation=2, offset_source=s) for s in ("dilated", "own"))
    assert set(other.state_dict()) - set(plain.state_dict()) == {"offset.weight", "offset.bias"}
    assert plain.align.weight.shape == other.align.weight.shape
