"""What deform_align says about arguments that do not fit."""

from __future__ import annotations

import pytest
import torch

import refinedet_ext as rx

OP = torch.ops.refinedet_ext.deform_align.default


def arguments(**changes):
    given = {
        "input": torch.zeros(2, 6, 5, 5),
        "offset": torch.zeros(2, 36, 5, 5),
        "weight": torch.zeros(4, 6, 3, 3),
        "bias": torch.zeros(4),
        "mask": torch.zeros(2, 18, 5, 5),
        "center": torch.zeros(2, 4, 5, 5),
        "padding": 1,
    }
    return given | changes


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": torch.zeros(6, 5, 5)}, ValueError, r"input: expected shape \(B, C, H, W\), got \(6, 5, 5\)"),
        ({"input": torch.zeros(2, 6, 5, 5, dtype=torch.int32)}, TypeError, "input: expected dtype float16.*int32"),
        ({"input": None}, TypeError, "input: expected a torch.Tensor, got NoneType"),
        (
            {"weight": torch.zeros(4, 6, 9)},
            ValueError,
            r"weight: expected shape \(Co, C / groups, kh, kw\), got \(4, 6, 9\)",
        ),
        ({"weight": torch.zeros(4, 0, 3, 3)}, ValueError, r"weight: expected shape .*got \(4, 0, 3, 3\)"),
        (
            {"weight": torch.zeros(4, 6, 3, 3).double()},
            TypeError,
            "weight: expected dtype torch.float32 as input has, got torch.float64",
        ),
        (
            {"weight": torch.zeros(4, 4, 3, 3)},
            ValueError,
            r"input: expected a multiple of 4 channels for weight \(4, 4, 3, 3\), got \(2, 6, 5, 5\)",
        ),
        (
            {"weight": torch.zeros(4, 2, 3, 3)},
            ValueError,
            r"weight: expected a multiple of 3 output channels \(3 groups of 2",
        ),
        ({"bias": torch.zeros(3)}, ValueError, r"bias: expected shape \(4,\), got \(3,\)"),
        (
            {"bias": torch.zeros(4).half()},
            TypeError,
            "bias: expected dtype torch.float32 as input has, got torch.float16",
        ),
        (
            {"offset": torch.zeros(2, 36, 5, 4)},
            ValueError,
            r"offset: expected shape \(2, 36, 5, 5\), got \(2, 36, 5, 4\)",
        ),
        (
            {"offset": torch.zeros(2, 35, 5, 5)},
            ValueError,
            r"offset: expected shape \(2, 18 \* offset groups, 5, 5\), got \(2, 35, 5, 5\)",
        ),
        (
            {"offset": torch.zeros(2, 72, 5, 5)},
            ValueError,
            "offset: expected offset groups that divide the 6 channels of input, got 4",
        ),
        ({"offset": torch.zeros(2, 36, 5, 5).int()}, TypeError, "offset: expected dtype float16.*int32"),
        ({"center": torch.zeros(2, 2, 5, 5)}, ValueError, r"center: expected shape \(2, 4, 5, 5\), got \(2, 2, 5, 5\)"),
        (
            {"offset": None, "center": torch.zeros(2, 3, 5, 5)},
            ValueError,
            r"center: expected shape \(2, 2 \* offset groups, 5, 5\)",
        ),
        ({"mask": torch.zeros(2, 9, 5, 5)}, ValueError, r"mask: expected shape \(2, 18, 5, 5\), got \(2, 9, 5, 5\)"),
        ({"mask": torch.zeros(1, 18, 5, 5)}, ValueError, r"mask: expected shape \(2, 18, 5, 5\), got \(1, 18, 5, 5\)"),
        (
            {"center": torch.zeros(2, 4, 5, 5, device="meta")},
            ValueError,
            "center: expected device cpu as input has, got meta",
        ),
        ({"stride": 0}, ValueError, "stride: expected at least 1, got 0"),
        ({"padding": (1, -1)}, ValueError, "padding: expected at least 0, got -1"),
        ({"dilation": (1, 2, 3)}, TypeError, r"dilation: expected an int or a pair of ints, got \(1, 2, 3\)"),
        ({"stride": 1.5}, TypeError, "stride: expected an int or a pair of ints, got 1.5"),
        (
            {"dilation": 5},
            ValueError,
            r"input: expected a map that the kernel fits into, got \(2, 6, 5, 5\) for weight \(4, 6, 3, 3\)",
        ),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=message):
        rx.deform_align(**arguments(**changes))


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.zeros(6, 5, 5), r"input: expected shape \(B, C, H, W\), got \(6, 5, 5\)"),
        (1, torch.zeros(4, 4, 3, 3), "input: expected a multiple of 4 channels"),
        (1, torch.zeros(4, 6, 3, 3).double(), "weight: expected dtype Float, got Double"),
        (2, torch.zeros(2, 18, 9, 5), r"offset: expected shape \(2, 18, 5, 5\), got \(2, 18, 9, 5\)"),
        (3, torch.zeros(2, 5, 5, 5), r"center: expected shape \(2, 2, 5, 5\), got \(2, 5, 5, 5\)"),
        (4, torch.zeros(2, 9, 5, 6), r"mask: expected shape \(2, 9, 5, 5\), got \(2, 9, 5, 6\)"),
        (5, torch.zeros(5), r"bias: expected shape \(4,\), got \(5\)"),
        (6, [0, 1], r"stride: expected two integers of at least 1, got \(0, 1\)"),
        (8, [1], r"dilation: expected two integers of at least 1, got \(1\)"),
    ],
)
def test_op_itself_checks(position, value, message):
    image, weight, offset = torch.zeros(2, 6, 5, 5), torch.zeros(4, 6, 3, 3), torch.zeros(2, 18, 5, 5)
    center, mask, bias = torch.zeros(2, 2, 5, 5), torch.zeros(2, 9, 5, 5), torch.zeros(4)
    given = [image, weight, offset, center, mask, bias, [1, 1], [1, 1], [1, 1]]
    given[position] = value
    with pytest.raises(RuntimeError, match=message):
        OP(*given)
