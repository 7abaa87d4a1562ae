from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx


def test_matches_the_formula_by_hand():
    norm = rx.nn.L2Norm(2, scale=10)
    x = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([6.0, 8.0]))


def test_every_pixel_gets_the_length_of_the_scale():
    norm = rx.nn.L2Norm(16, scale=8)
    lengths = norm(torch.randn(2, 16, 5, 7)).square().sum(dim=1).sqrt()
    torch.testing.assert_close(lengths, torch.full((2, 5, 7), 8.0))


def test_scale_is_learned_per_channel():
    norm = rx.nn.L2Norm(3, scale=10)
    assert [tuple(p.shape) for p in norm.parameters()] == [(3,)]
    with torch.no_grad():
        norm.weight[1] = 0
    out = norm(torch.randn(1, 3, 4, 4))
    assert (out[:, 1] == 0).all() and (out[:, 0] != 0).all()


def test_zero_map_has_finite_output_and_gradient():
    norm = rx.nn.L2Norm(4, scale=10)
    x = torch.zeros(1, 4, 2, 2, requires_grad=True)
    norm(x).sum().backward()
    assert torch.isfinite(x.grad).all() and torch.isfinite(norm.weight.grad).all()


def test_gradcheck():
    norm = rx.nn.L2Norm(3, scale=2).double()
    assert torch.autograd.gradcheck(norm, (torch.randn(2, 3, 2, 2, dtype=torch.double, requires_grad=True),))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_input_does_not_overflow(dtype):
    norm = rx.nn.L2Norm(512, scale=10)
    out = norm(torch.full((1, 512, 1, 1), 300.0, dtype=dtype))  # 300^2 is above float16's largest number
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), torch.full((1, 512, 1, 1), 10 / 512**0.5), rtol=1e-2, atol=0)


def test_batch_without_images():
    assert rx.nn.L2Norm(4, scale=1)(torch.zeros(0, 4, 3, 3)).shape == (0, 4, 3, 3)


@pytest.mark.parametrize("shape", [(1, 3, 2, 2), (4, 2, 2)])
def test_wrong_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"input: expected shape \(B, 4, H, W\), got"):
        rx.nn.L2Norm(4, scale=1)(torch.zeros(shape))


def test_wrong_channels_are_named():
    with pytest.raises(ValueError, match="channels: expected at least 1, got 0"):
        rx.nn.L2Norm(0, scale=1)
