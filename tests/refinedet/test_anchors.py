from __future__ import annotations

import math

import pytest
import torch

from refinedet import AnchorGenerator, AnchorLevel

PAPER = [AnchorLevel(size, step) for size, step in ((32, 8), (64, 16), (128, 32), (256, 64))]


def maps(height, width, steps=(8, 16, 32, 64)):
    return [(height // step, width // step) for step in steps]


def center_form(boxes):
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], dim=-1)


def test_first_anchors_of_the_paper_at_320():
    first = center_form(AnchorGenerator(PAPER)(maps(320, 320), (320, 320)))[:3]
    expected = [[0.0125, 0.0125, 0.1, 0.1], [0.0125, 0.0125, 0.141421, 0.070711], [0.0125, 0.0125, 0.070711, 0.141421]]
    torch.testing.assert_close(first, torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "total"),
    [
        (192, 2295),
        (256, 4080),
        (320, 6375),
        (384, 9180),
        (448, 12495),
        (512, 16320),
        (576, 20655),
        (640, 25500),
        (704, 30855),
        (768, 36720),
        (896, 49980),
        (1024, 65280),
        (1152, 82620),
    ],
)
def test_totals_at_multi_scale_sizes(size, total):
    assert AnchorGenerator(PAPER)(maps(size, size), (size, size)).shape == (total, 4)


def test_order_is_level_row_column_box():
    generator = AnchorGenerator([AnchorLevel(8, 16), AnchorLevel(64, 32)])
    anchors = generator([(4, 6), (2, 3)], (64, 96))
    row, column, box = 2, 5, 1
    centers = center_form(anchors)
    index = (row * 6 + column) * 3 + box
    expected = torch.tensor([5.5 * 16 / 96, 2.5 * 16 / 64, 8 * math.sqrt(2) / 96, 8 / math.sqrt(2) / 64])
    torch.testing.assert_close(centers[index], expected)
    last = torch.tensor([2.5 * 32 / 96, 1.5 * 32 / 64, 64 / math.sqrt(2) / 96, 64 * math.sqrt(2) / 64])
    torch.testing.assert_close(centers[-1], last)


def test_extra_square_follows_the_first_and_ratios_keep_their_order():
    level = AnchorLevel(30, 8, max_size=60, ratios=(2, 3))
    middle = math.sqrt(30 * 60)
    expected = [
        (30, 30),
        (middle, middle),
        (30 * math.sqrt(2), 30 / math.sqrt(2)),
        (30 / math.sqrt(2), 30 * math.sqrt(2)),
        (30 * math.sqrt(3), 30 / math.sqrt(3)),
        (30 / math.sqrt(3), 30 * math.sqrt(3)),
    ]
    assert level.per_cell == len(level.shapes()) == 6
    torch.testing.assert_close(torch.tensor(level.shapes()), torch.tensor(expected))


def test_levels_may_differ_in_boxes_per_cell():
    levels = [AnchorLevel(8, 8, max_size=16, ratios=(2, 3)), AnchorLevel(16, 16, max_size=32)]
    generator = AnchorGenerator(levels)
    assert generator.per_cell == (6, 4)
    assert generator([(4, 4), (2, 2)], (32, 32)).shape == (4 * 4 * 6 + 2 * 2 * 4, 4)


def test_clip_shortens_only_the_longest_side_at_320():
    free = AnchorGenerator(PAPER)(maps(320, 320), (320, 320))
    clipped = AnchorGenerator(PAPER, clip=True)(maps(320, 320), (320, 320))
    differ = (center_form(free) - center_form(clipped)).abs().amax(dim=1) > 1e-6
    # the ratio anchors of 256 pixels at the 5 x 5 level, 362 pixels long
    assert int(differ.sum()) == 50 and not differ[:-75].any()
    long_side = center_form(clipped)[differ][:, 2:].amax(dim=1)
    torch.testing.assert_close(long_side, torch.ones(50))


def test_clip_changes_nothing_at_512():
    size = (512, 512)
    free, clipped = AnchorGenerator(PAPER), AnchorGenerator(PAPER, clip=True)
    torch.testing.assert_close(free(maps(*size), size), clipped(maps(*size), size))


def test_offset_moves_the_centers():
    corner = AnchorGenerator([AnchorLevel(8, 16)], offset=0.0)([(2, 2)], (32, 32))
    torch.testing.assert_close(center_form(corner)[0, :2], torch.zeros(2))


def test_step_none_spreads_the_cells_over_the_input():
    # RefineDetLite: a 3 x 3 map of a 320-pixel input, 106.67 pixels a cell
    anchors = AnchorGenerator([AnchorLevel(256)])([(3, 3)], (320, 320))
    torch.testing.assert_close(center_form(anchors)[3 * 1, 0], torch.tensor(0.5))


def test_one_cell():
    anchors = AnchorGenerator([AnchorLevel(8, 16, ratios=())])([(1, 1)], (16, 16))
    torch.testing.assert_close(anchors, torch.tensor([[0.25, 0.25, 0.75, 0.75]]))
    assert anchors.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size: expected a positive number of pixels, got 0"),
        ({"size": 8, "step": -1}, "step: expected a positive number of pixels or None, got -1"),
        ({"size": 8, "max_size": 0}, "max_size: expected a positive number of pixels or None, got 0"),
        ({"size": 8, "ratios": (2, 0)}, r"ratios: expected positive numbers, got \(2, 0\)"),
    ],
)
def test_wrong_level_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        AnchorLevel(**arguments)


def test_wrong_calls_are_named():
    with pytest.raises(ValueError, match="levels: expected at least one AnchorLevel"):
        AnchorGenerator([])
    with pytest.raises(ValueError, match="map_sizes: expected 4 levels, got 1"):
        AnchorGenerator(PAPER)([(40, 40)], (320, 320))
    with pytest.raises(ValueError, match=r"image_size: expected positive \(height, width\), got \(0, 320\)"):
        AnchorGenerator(PAPER)(maps(320, 320), (0, 320))
