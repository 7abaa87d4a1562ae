"""Boxes, labels and grids land where they should, at any size of image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from refinedet.visualize import class_color, draw_detections, draw_grid

GRAY = 90


def _gray(height=240, width=320):
    return np.full((height, width, 3), GRAY, np.uint8)


def _has_color(image, color):
    return (image == np.array(color, np.uint8)).all(axis=2)


def test_lines_lie_on_the_first_and_last_pixel_of_the_box():
    drawn = draw_detections(_gray(), [[40, 60, 200, 180]], [1], show_labels=False, line_width=1)
    rows, columns = np.nonzero(_has_color(drawn, class_color(1)))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (40, 60, 199, 179)
    assert (drawn[62:178, 42:198] == GRAY).all()
    assert (drawn[:59] == GRAY).all() and (drawn[:, 202:] == GRAY).all()


def test_the_input_stays_and_nothing_is_drawn_without_boxes():
    image = np.asfortranarray(_gray())
    drawn = draw_detections(image, np.zeros((0, 4)), [], [])
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image
    draw_detections(image, [[1, 1, 9, 9]], [1])
    assert (image == GRAY).all()


def test_tensors_arrays_and_lists_draw_the_same():
    boxes, labels, scores = [[40.0, 60.0, 200.0, 180.0]], [2], [0.75]
    expected = draw_detections(_gray(), boxes, labels, scores, ["cat", "dog"])
    tensors = draw_detections(
        _gray(),
        torch.tensor(boxes, dtype=torch.bfloat16),
        torch.tensor(labels),
        torch.tensor(scores, requires_grad=True),
        ["cat", "dog"],
    )
    np.testing.assert_array_equal(tensors, expected)


@pytest.mark.parametrize("shape", [(60, 80), (240, 320), (1200, 1600), (100, 1200)])
def test_labels_stay_whole_inside_the_image(shape):
    height, width = shape
    color = class_color(1)
    names = ["some class"]

    def label_area(box):
        with_label = draw_detections(_gray(*shape), [box], [1], [0.5], names)
        without = draw_detections(_gray(*shape), [box], [1], [0.5], names, show_labels=False)
        rows, columns = np.nonzero((with_label != without).any(axis=2))
        assert _has_color(with_label, color).any()
        return columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min()

    middle = label_area([width // 4, height // 2, width // 4 + 4, height // 2 + 4])
    corners = itertools.product((0, width - 4), (0, height - 4))
    for x, y in corners:
        # lines of the box itself hide a few pixels of the difference
        assert label_area([x, y, x + 4, y + 4]) == pytest.approx(middle, abs=8)
    whole = label_area([0, 0, width, height])
    assert whole == pytest.approx(middle, abs=8)


def test_larger_images_get_wider_lines_and_larger_text():
    def ink(shape):
        height, width = shape
        box = [[width // 4, height // 4, width // 2, height // 2]]
        plain = draw_detections(_gray(*shape), box, [1], show_labels=False)
        lines = _has_color(plain, class_color(1))[3 * height // 8].sum()
        return lines, _has_color(draw_detections(_gray(*shape), box, [1]), class_color(1)).sum()

    small, large = ink((120, 160)), ink((1200, 1600))
    assert small[0] == 2 and large[0] >= 6
    assert large[1] > 20 * small[1]


def test_weak_detections_are_left_out_and_the_best_is_on_top():
    boxes = [[40, 60, 200, 180], [40, 60, 200, 180], [240, 60, 300, 100]]
    drawn = draw_detections(_gray(), boxes, [1, 2, 3], [0.9, 0.6, 0.1], min_score=0.5, show_labels=False)
    assert _has_color(drawn, class_color(1))[120, 40]
    assert not _has_color(drawn, class_color(3)).any()


def test_boxes_beyond_the_image_are_drawn_at_its_edge():
    drawn = draw_detections(_gray(), [[-50, -50, 900, 900]], [1], show_labels=False, line_width=1)
    hit = _has_color(drawn, class_color(1))
    assert hit[0].all() and hit[-1].all() and hit[:, 0].all() and hit[:, -1].all()
    draw_detections(_gray(), [[400, 400, 500, 500], [7, 7, 7, 7]], [1, 1], [0.5, 0.5])


def test_colors_are_stable_and_differ():
    colors = np.array([class_color(label) for label in range(1, 9)], float)
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=2) + 1000 * np.eye(8)
    assert distance.min() > 60
    assert len({class_color(label) for label in range(1, 91)}) == 90
    assert class_color(5) == class_color(5)


def test_bad_input_is_named():
    image = _gray()
    with pytest.raises(TypeError, match="image_bgr: expected a uint8 array, got float32"):
        draw_detections(image.astype(np.float32), [], [])
    with pytest.raises(TypeError, match="image_bgr: expected a uint8 array, got list"):
        draw_detections([], [], [])
    with pytest.raises(ValueError, match=r"image_bgr: expected shape \(H, W, 3\).* got \(240, 320"):
        draw_detections(image[..., :1], [], [])
    with pytest.raises(ValueError, match=r"boxes: expected shape \(N, 4\), got \(2, 3\)"):
        draw_detections(image, np.zeros((2, 3)), [1, 1])
    with pytest.raises(ValueError, match="boxes: expected finite values"):
        draw_detections(image, [[0, 0, np.nan, 5]], [1])
    with pytest.raises(ValueError, match=r"labels: expected shape \(1,\), got \(2,\)"):
        draw_detections(image, [[0, 0, 5, 5]], [1, 1])
    with pytest.raises(ValueError, match=r"labels: expected values in 1..2, got \[3\]"):
        draw_detections(image, [[0, 0, 5, 5]], [3], None, ["a", "b"])
    with pytest.raises(ValueError, match=r"scores: expected shape \(1,\), got \(2,\)"):
        draw_detections(image, [[0, 0, 5, 5]], [1], [0.5, 0.5])


def test_a_score_that_is_no_number_is_an_error():
    with pytest.raises(ValueError, match=r"scores: expected finite values, got \[nan\]"):
        draw_detections(_gray(), [[0, 0, 5, 5]], [1], [np.nan], min_score=0.5)


def _flat(value, height, width):
    return np.full((height, width, 3), value, np.uint8)


def test_grid_places_images_row_by_row():
    images = [_flat(10 * (i + 1), 32, 32) for i in range(5)]
    grid = draw_grid(images, columns=3, cell=64, gap=8)
    assert grid.shape == (8 + 2 * 72, 8 + 3 * 72, 3)
    for i in range(5):
        y, x = 8 + i // 3 * 72, 8 + i % 3 * 72
        assert (grid[y : y + 64, x : x + 64] == 10 * (i + 1)).all()
    assert (grid[80:, 8 + 2 * 72 :] == 255).all()  # the sixth place is empty


def test_grid_scales_each_image_into_its_place():
    grid = draw_grid([_flat(10, 30, 60), _flat(20, 100, 50)], columns=2, cell=60, gap=4)
    assert grid.shape == (4 + 60 + 4, 4 + 2 * 64, 3)
    assert (grid == 10).all(axis=2).sum() == 60 * 30
    assert (grid == 20).all(axis=2).sum() == 30 * 60
    assert draw_grid([_flat(10, 30, 60)], cell=60, gap=4).shape == (4 + 30 + 4, 68, 3)


def test_grid_with_ground_truth_and_titles():
    images, truths = [_flat(10, 64, 64)] * 2, [_flat(20, 64, 64)] * 2
    grid = draw_grid(images, beside=truths, titles=["one", "a title " * 20], columns=1, cell=64)
    columns_of_truth = np.nonzero((grid == 20).all(axis=2).any(axis=0))[0]
    columns_of_pictures = np.nonzero((grid == 10).all(axis=2).any(axis=0))[0]
    assert columns_of_truth.max() < columns_of_pictures.min()
    assert (grid == 20).all(axis=2).sum() == 2 * 64 * 64
    assert (grid[:, -8:] == 255).all()  # the long title is cut


def test_grid_of_nothing_and_of_one():
    assert (draw_grid([]) == 255).all()
    assert draw_grid([], beside=[], titles=[]).ndim == 3
    assert (draw_grid([_flat(7, 1, 1)], cell=16, gap=0) == 7).all()


def test_grid_names_bad_input():
    with pytest.raises(ValueError, match="beside: expected 1 entries, got 0"):
        draw_grid([_flat(1, 4, 4)], beside=[])
    with pytest.raises(ValueError, match="titles: expected 1 entries, got 2"):
        draw_grid([_flat(1, 4, 4)], titles=["a", "b"])
    with pytest.raises(ValueError, match="columns: expected 1 or above, got 0"):
        draw_grid([], columns=0)
    with pytest.raises(ValueError, match="cell, gap: expected 16"):
        draw_grid([], cell=4)
    with pytest.raises(ValueError, match=r"images\[0\]: expected shape"):
        draw_grid([np.zeros((4, 4), np.uint8)])
