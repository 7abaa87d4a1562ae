from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import refinedet_ext as rx


def layer(**options):
    torch.manual_seed(0)
    return rx.nn.DeformAlign(4, 6, 3, padding=2, dilation=2, **options)


def test_without_offsets_it_is_a_convolution():
    align, x = layer(), torch.randn(2, 4, 7, 9)
    expected = F.conv2d(x, align.weight, align.bias, padding=2, dilation=2)
    torch.testing.assert_close(align(x, torch.zeros(2, 18, 7, 9)), expected, rtol=1e-4, atol=1e-5)


def test_whole_pixel_offset_shifts_the_convolution():
    align, x = layer(), torch.randn(1, 4, 9, 9)
    offset = torch.zeros(1, 18, 9, 9)
    offset[:, 1::2] = 1  # dx of every tap
    expected = F.conv2d(x, align.weight, align.bias, padding=2, dilation=2)
    # columns that see neither border before nor after the shift
    torch.testing.assert_close(align(x, offset)[..., 2:-3], expected[..., 3:-2], rtol=1e-4, atol=1e-5)


def test_center_is_added_to_every_tap():
    align, x = layer(), torch.randn(1, 4, 8, 8)
    offset, center = torch.randn(1, 18, 8, 8), torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(
        align(x, offset, center=center), align(x, offset + center.repeat(1, 9, 1, 1)), rtol=1e-4, atol=1e-4
    )


def test_mask_scales_the_taps():
    align, x = layer(bias=False), torch.randn(1, 4, 8, 8)
    offset = torch.randn(1, 18, 8, 8)
    half = align(x, offset, torch.full((1, 9, 8, 8), 0.5))
    torch.testing.assert_close(half, align(x, offset) / 2, rtol=1e-4, atol=1e-5)


def test_all_inputs_and_parameters_get_gradients():
    align = layer()
    x = torch.randn(1, 4, 8, 8, requires_grad=True)
    offset = torch.randn(1, 18, 8, 8, requires_grad=True)
    align(x, offset).square().sum().backward()
    for tensor in (x, offset, align.weight, align.bias):
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0


def test_weights_start_within_one_over_the_root_of_fan_in():
    align = rx.nn.DeformAlign(64, 64, 3)
    bound = 1 / (9 * 64) ** 0.5
    assert 0.95 * bound < align.weight.abs().max() <= bound
    assert (align.bias == 0).all()


def test_groups_divide_the_weight():
    align = rx.nn.DeformAlign(4, 6, 3, padding=1, groups=2, bias=False)
    assert align.weight.shape == (6, 2, 3, 3)
    x = torch.randn(1, 4, 5, 5)
    expected = F.conv2d(x, align.weight, padding=1, groups=2)
    torch.testing.assert_close(align(x, torch.zeros(1, 18, 5, 5)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 0}, "kernel_size: expected an integer of at least 1 or a pair of them, got 0"),
        ({"kernel_size": 3, "stride": (1, 1, 1)}, "stride: expected"),
        ({"kernel_size": 3, "padding": -1}, "padding: expected an integer of at least 0"),
        ({"kernel_size": 3, "groups": 3}, "groups: expected a divisor of in_channels 4 and out_channels 6, got 3"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        rx.nn.DeformAlign(4, 6, **options)


def test_numbers_of_any_kind():
    align = rx.nn.DeformAlign(np.int64(4), np.int32(6), np.int64(3), np.int64(1), (np.int64(2), 2), 2, np.int64(2))
    assert align.kernel_size == (3, 3) and align.padding == (2, 2) and align.groups == 2
    assert all(type(n) is int for n in (align.in_channels, align.out_channels, *align.kernel_size, *align.padding))
    assert align(torch.zeros(1, 4, 5, 5)).shape == (1, 6, 5, 5)
    for wrong in (True, 1.0, np.float32(1)):
        with pytest.raises(ValueError, match="stride: expected an integer of at least 1 or a pair of them"):
            rx.nn.DeformAlign(4, 6, 3, stride=wrong)
        with pytest.raises(TypeError, match="in_channels: expected an int"):
            rx.nn.DeformAlign(wrong, 6, 3)
