"""The sampling points that are reported are those that the op reads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from refinedet.explain import sampling_points
from refinedet.heads import FeatureAlignment
from refinedet_ext.nn import DeformAlign

from .models import bilinear


def test_hand_set_offsets_give_known_points():
    layer = DeformAlign(1, 1, 3, padding=2, dilation=2)
    offset = torch.zeros(18, 4, 5)
    offset[2 * 5, 1, 3], offset[2 * 5 + 1, 1, 3] = 0.5, -1.25  # dy, dx of the tap in the middle row's last column
    center = torch.zeros(2, 4, 5)
    center[:, 0, 0] = torch.tensor([10.0, 20.0])
    points = sampling_points(layer, offset, center)
    assert points.shape == (4, 5, 9, 2)
    regular = [(x, y) for y in (-1, 1, 3) for x in (1, 3, 5)]  # around row 1, column 3, two pixels apart
    expected = np.array(regular, float)
    expected[5] += (-1.25, 0.5)
    np.testing.assert_allclose(points[1, 3], expected)
    np.testing.assert_allclose(points[0, 0], [(x + 20, y + 10) for y in (-2, 0, 2) for x in (-2, 0, 2)])


@pytest.mark.parametrize("with_offset", [True, False])
@pytest.mark.parametrize("with_center", [True, False])
@pytest.mark.parametrize(
    "steps", [{"padding": 1}, {"padding": 3, "dilation": (3, 2)}, {"stride": (2, 3), "padding": (0, 1)}]
)
def test_a_bilinear_look_at_the_points_is_what_the_op_computes(with_offset, with_center, steps):
    if not (with_offset or with_center):
        return
    rng = torch.Generator().manual_seed(0)
    layer = DeformAlign(3, 4, 3, bias=False, **steps)
    x = torch.randn(1, 3, 9, 11, generator=rng)
    rows, columns = layer(x).shape[2:]
    offset = torch.randn(1, 18, rows, columns, generator=rng) * 2 if with_offset else None
    center = torch.randn(1, 2, rows, columns, generator=rng) * 2 if with_center else None
    expected = layer(x, offset, center=center)[0].detach().double().numpy()
    points = sampling_points(layer, *(None if t is None else t[0] for t in (offset, center)))
    read = bilinear(x[0].double().numpy(), points)  # (rows, columns, taps, channels)
    weight = layer.weight.detach().double().numpy().reshape(4, 3, 9)
    np.testing.assert_allclose(np.einsum("yxkc,ock->oyx", read, weight), expected, atol=1e-4)


def test_padets_shift_and_offsets_come_from_the_anchors():
    alignment = FeatureAlignment(2, 1)
    with torch.no_grad():
        alignment.shift.weight[:, :, 0, 0] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # dy, dx from (dx, dy)
        alignment.offset.weight[0, 0] = 3.0  # dy of the first tap from dw
    deltas = torch.tensor([0.25, -0.5, 1.0, 0.0])[None, :, None, None]
    seen = []
    alignment.align.register_forward_pre_hook(
        lambda layer, inputs, named: seen.append(sampling_points(layer, inputs[1][0], named["center"][0])),
        with_kwargs=True,
    )
    alignment.eval()(torch.zeros(1, 2, 1, 1), deltas)
    expected = np.array([(x + 0.25, y - 0.5) for y in (-1, 0, 1) for x in (-1, 0, 1)])
    expected[0, 1] += 3.0
    np.testing.assert_allclose(seen[0][0, 0], expected)


def test_shifts_that_do_not_fit():
    layer = DeformAlign(1, 1, 3, padding=1)
    with pytest.raises(ValueError, match="offset, center: expected one of them, got neither"):
        sampling_points(layer, None, None)
    with pytest.raises(ValueError, match=r"offset: expected shape \(18, 4, 5\), got \(36, 4, 5\)"):
        sampling_points(layer, torch.zeros(36, 4, 5), None)
    with pytest.raises(ValueError, match=r"center: expected shape \(2, 4, 5\), got \(2, 4, 4\)"):
        sampling_points(layer, torch.zeros(18, 4, 5), torch.zeros(2, 4, 4))
