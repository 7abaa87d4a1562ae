"""The convolution on panels of pixels that `refinedet.optimize_for_inference` uses; not of the public face."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional as F

import refinedet_ext as rx  # noqa: F401  (loads the ops)

OPS = torch.ops.refinedet_ext
pytestmark = pytest.mark.cpu_only

# batch, channels in and out, groups, kernel, stride, height, width
CASES = [
    (1, 6, 9, 1, 1, 1, 5, 7),
    (2, 40, 63, 1, 1, 1, 20, 20),
    (1, 64, 12, 4, 1, 1, 40, 40),
    (1, 300, 40, 1, 1, 1, 30, 31),
    (2, 18, 18, 2, 3, 1, 10, 10),
    (3, 24, 21, 3, 3, 1, 1, 1),
    (1, 30, 18, 1, 3, 1, 40, 41),
    (1, 130, 144, 2, 3, 1, 20, 20),
    (2, 18, 18, 2, 3, 2, 11, 10),
    (1, 36, 72, 2, 3, 2, 9, 9),
    (1, 3, 32, 1, 3, 2, 33, 140),
    (1, 8, 8, 2, 3, 2, 1, 2),
    (1, 8, 8, 8, 3, 2, 2, 1),
    (0, 8, 8, 1, 3, 1, 4, 4),
]


def rand(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def inputs(case):
    batch, channels, outputs, groups, kernel, _, height, width = case
    x, addend = (rand(batch, channels, height, width) for _ in range(2))
    weight = rand(outputs, channels // groups, kernel, kernel) / (channels // groups * kernel**2) ** 0.5
    return x, addend.roll(1, 1), weight, rand(outputs)


def convolve(case, x, addend, weight, bias, relu, shortcut, last_relu):
    """In panels and back, contiguous maps to contiguous maps."""
    _, _, outputs, groups, kernel, stride, height, width = case
    panels = [None if t is None else OPS._to_panels(t) for t in (x, addend, shortcut)]
    out = OPS._panel_conv(
        *panels[:2],
        OPS._panel_conv_pack(weight, groups),
        bias,
        outputs,
        height,
        width,
        kernel,
        stride,
        groups,
        relu,
        panels[2],
        last_relu,
    )
    return OPS._from_panels(out, -(-height // stride), -(-width // stride))


def plain(case, x, addend, weight, bias, relu, shortcut, last_relu):
    _, _, _, groups, kernel, stride, _, _ = case
    x = x.double() if addend is None else x.double() + addend
    bias = None if bias is None else bias.double()
    out = F.conv2d(x, weight.double(), bias, stride=stride, padding=kernel // 2, groups=groups)
    out = out.relu() if relu else out
    out = out if shortcut is None else out + shortcut
    return out.relu() if last_relu else out


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_agrees_with_a_convolution(case):
    x, addend, weight, bias = inputs(case)
    for added, biased, relu, short, last_relu in itertools.product((False, True), repeat=5):
        if added and case[4] == 1:
            continue
        height, width = (-(-side // case[5]) for side in case[6:])
        shortcut = rand(case[0], case[2], height, width) if short else None
        args = (x, addend if added else None, weight, bias if biased else None, relu, shortcut, last_relu)
        expected = plain(case, *args)
        got = convolve(case, *args)
        assert got.shape == expected.shape
        largest = float(expected.abs().max()) if expected.numel() else 0.0
        torch.testing.assert_close(
            got.double(), expected, rtol=0, atol=3e-6 * max(largest, 1e-3)
        )  # sums of up to 600 terms


@pytest.mark.parametrize("case", CASES[:3] + CASES[6:11], ids=str)
def test_threads_give_the_same_bits(case):
    x, addend, weight, bias = inputs(case)
    args = (x, addend if case[4] == 3 else None, weight, bias, True, None, False)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(convolve(case, *args))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_nan_stays_where_it_is():
    case = (1, 4, 6, 1, 3, 1, 7, 7)
    x, _, weight, bias = inputs(case)
    x[0, 2, 3, 3] = float("nan")
    for relu, shortcut in ((True, None), (False, torch.zeros(1, 6, 7, 7))):
        got = convolve(case, x, None, weight, bias, relu, shortcut, True)
        assert torch.equal(got.isnan(), plain(case, x, None, weight, bias, relu, shortcut, True).isnan())
        assert got.isnan().any()


@pytest.mark.parametrize("shape", [(2, 5, 7, 9), (1, 3, 1, 1), (1, 40, 20, 20), (0, 3, 4, 4)])
def test_panels_and_back_agrees(shape):
    x = rand(*shape)
    for layout in (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3), rand(*shape, 2)[..., 0]):
        panels = OPS._to_panels(layout)
        size = OPS._panel_size()
        pixels = layout.shape[2] * layout.shape[3]
        assert panels.shape == (shape[0], -(-pixels // size), shape[1], size)
        flat = panels.permute(0, 2, 1, 3).reshape(shape[0], shape[1], panels.shape[1] * size)
        assert torch.equal(flat[..., :pixels], layout.reshape(shape[0], shape[1], pixels))
        assert not flat[..., pixels:].any()
        assert torch.equal(OPS._from_panels(panels, *layout.shape[2:]), layout)


def test_parts_of_the_channels_are_read_and_written_in_place():
    x, weight = rand(2, 30, 9, 11), rand(8, 10, 3, 3)
    whole = OPS._to_panels(x)
    out = torch.full((*whole.shape[:2], 20, whole.shape[3]), 7.0)
    OPS._panel_conv_out(
        whole.narrow(2, 10, 10),
        None,
        OPS._panel_conv_pack(weight, 1),
        None,
        9,
        11,
        3,
        1,
        1,
        False,
        None,
        False,
        out.narrow(2, 5, 8),
    )
    expected = F.conv2d(x[:, 10:20], weight, padding=1)
    torch.testing.assert_close(OPS._from_panels(out, 9, 11)[:, 5:13], expected, rtol=1e-5, atol=1e-4)
    assert (out[:, :, :5] == 7).all() and (out[:, :, 13:] == 7).all()


def test_wrong_arguments_are_named():
    x = OPS._to_panels(rand(1, 4, 5, 5))
    packed = OPS._panel_conv_pack(rand(6, 4, 1, 1), 1)
    right = [x, None, packed, rand(6), 6, 5, 5, 1, 1, 1, False, None, False]
    OPS._panel_conv(*right)
    wrong = [
        (0, rand(4, 5, 5), "x: expected panels of 4 dimensions"),
        (0, x.double(), "x: expected dtype Float"),
        (0, x[:, :0], r"x: expected shape \(1, "),
        (0, x.transpose(2, 3).contiguous().transpose(2, 3), "x: expected channels that follow one another"),
        (1, x, "without an addend"),
        (2, packed[:-1], "weight: expected a packed one of"),
        (3, rand(5), r"bias: expected shape \(6\), got \(5\)"),
        (5, 0, "height, width: expected at least 1"),
        (6, 50, "x: expected shape"),
        (7, 5, "kernel, stride: expected"),
        (8, 3, "stride: expected 1 or 2, got 3"),
        (9, 3, "groups: expected a divisor of 4 and 6"),
        (11, x, "shortcut: expected shape"),
    ]
    for place, value, message in wrong:
        args = [value if i == place else arg for i, arg in enumerate(right)]
        with pytest.raises(RuntimeError, match=message):
            OPS._panel_conv(*args)
    with pytest.raises(RuntimeError, match="groups: expected a divisor of 6 channels, got 4"):
        OPS._panel_conv_pack(rand(6, 4, 1, 1), 4)
    with pytest.raises(RuntimeError, match=r"weight: expected shape \(Co, Ci, k, k\), got \(3\)"):
        OPS._panel_conv_pack(rand(3), 1)
    with pytest.raises(RuntimeError, match="panels: expected shape"):
        OPS._from_panels(x, 50, 50)
