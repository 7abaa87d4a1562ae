from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import refinedet_ext as rx

Block = rx.nn.TransferConnectionBlock


def plain(block, source, above):
    """The block from its layers, one by one."""

    def layer(conv, norm, x):
        return conv(x) if norm is None else norm(conv(x))

    a = layer(block.lateral2, block.lateral2_norm, F.relu(layer(block.lateral1, block.lateral1_norm, source)))
    if above is not None:
        cropped = block.deconv(above)[:, :, : a.shape[2], : a.shape[3]]
        a = a + (cropped if block.deconv_norm is None else block.deconv_norm(cropped))
    return F.relu(layer(block.smooth, block.smooth_norm, F.relu(a)))


def randomize(block):
    """Statistics and scales other than those of a fresh batch norm."""
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return block


@pytest.mark.parametrize("kernel", [2, 4])
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(6, 8), (5, 7)])
def test_equals_its_layers_one_by_one(kernel, norm, training, size):
    torch.manual_seed(0)
    block = randomize(Block(12, 8, deconv_kernel=kernel, norm=norm)).train(training)
    source, above = torch.randn(2, 12, *size), torch.randn(2, 8, 3, 4)
    torch.testing.assert_close(block(source, above), plain(block, source, above), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("training", [True, False])
def test_gradients_equal_those_of_its_layers(norm, training):
    torch.manual_seed(0)
    block = randomize(Block(4, 8, norm=norm)).train(training)
    source = torch.randn(2, 4, 6, 6, requires_grad=True)
    above = torch.randn(2, 8, 3, 3, requires_grad=True)
    inputs = (source, above, *block.parameters())
    weight = torch.randn(2, 8, 6, 6)
    ours = torch.autograd.grad((block(source, above) * weight).sum(), inputs)
    theirs = torch.autograd.grad((plain(block, source, above) * weight).sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_top_block_has_no_deconvolution(norm):
    block = Block(12, 8, top=True, norm=norm).eval()
    assert not any("deconv" in name for name, _ in block.named_parameters())
    source = torch.randn(1, 12, 5, 5)
    torch.testing.assert_close(block(source), plain(block, source, None))


def test_parameters_of_the_four_blocks_of_the_paper():
    blocks = [Block(c, top=c == last) for c, last in ((512, 0), (512, 0), (1024, 0))] + [Block(512, top=True)]
    assert sum(p.numel() for block in blocks for p in block.parameters()) == 11_407_104


def test_batch_norm_form_has_no_biases():
    block = Block(4, 8, norm="batch")
    assert all(getattr(block, name).bias is None for name in ("lateral1", "lateral2", "smooth", "deconv"))


def test_channels_last_gives_the_same():
    block = Block(4, 8)
    source, above = torch.randn(2, 4, 6, 6), torch.randn(2, 8, 3, 3)
    layout = torch.channels_last
    out = block.to(memory_format=layout)(source.to(memory_format=layout), above.to(memory_format=layout))
    torch.testing.assert_close(out, plain(block, source, above), rtol=1e-4, atol=1e-5)


def test_batch_without_images():
    assert Block(4, 8)(torch.zeros(0, 4, 6, 6), torch.zeros(0, 8, 3, 3)).shape == (0, 8, 6, 6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": "group"}, r"norm: expected one of \('none', 'batch'\), got 'group'"),
        ({"deconv_kernel": 3}, r"deconv_kernel: expected one of \(2, 4\), got 3"),
    ],
)
def test_wrong_options_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Block(4, 8, **arguments)


@pytest.mark.parametrize(
    ("source", "above", "message"),
    [
        ((1, 5, 6, 6), (1, 8, 3, 3), r"source: expected shape \(B, 4, h, w\), got \(1, 5, 6, 6\)"),
        ((1, 4, 6, 6), None, "above: expected the map of the level above, got None"),
        ((1, 4, 6, 6), (1, 7, 3, 3), r"above: expected shape \(1, 8, H, W\), got \(1, 7, 3, 3\)"),
        ((1, 4, 6, 6), (2, 8, 3, 3), r"above: expected shape \(1, 8, H, W\), got \(2, 8, 3, 3\)"),
        ((1, 4, 6, 6), (1, 8, 4, 3), r"above: expected H to be half of the source's 6 \(rounded up\), got 4"),
        ((1, 4, 6, 7), (1, 8, 3, 3), r"above: expected W to be half of the source's 7 \(rounded up\), got 3"),
    ],
)
def test_wrong_inputs_are_named(source, above, message):
    with pytest.raises(ValueError, match=message):
        Block(4, 8)(torch.zeros(source), None if above is None else torch.zeros(above))


def test_top_block_refuses_a_map_from_above():
    with pytest.raises(ValueError, match="above: expected None"):
        Block(4, 8, top=True)(torch.zeros(1, 4, 6, 6), torch.zeros(1, 8, 3, 3))


def test_what_is_no_tensor_is_named():
    with pytest.raises(TypeError, match="source: expected a torch.Tensor, got NoneType"):
        Block(4, 8)(None, torch.zeros(1, 8, 3, 3))
    with pytest.raises(TypeError, match="above: expected a torch.Tensor, got list"):
        Block(4, 8)(torch.zeros(1, 4, 6, 6), [])


def test_numbers_of_any_kind():
    block = Block(np.int64(4), np.int32(8), deconv_kernel=np.int64(2))
    assert type(block.in_channels) is type(block.channels) is int
    assert block(torch.zeros(1, 4, 6, 6), torch.zeros(1, 8, 3, 3)).shape == (1, 8, 6, 6)
    for wrong in (True, 4.0, "4"):
        with pytest.raises(TypeError, match="in_channels: expected an int"):
            Block(wrong)
