from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refinedet.data.box_checks import check_boxes, describe
from refinedet.data.report import ProblemKind as Kind

from .makers import fixed

SIZE = np.array([100, 50])


def test_each_kind() -> None:
    boxes = np.array(
        [
            (0, 0, 100, 50),  # exactly the image
            (np.nan, 0, 5, 5),
            (0, 0, np.inf, 5),
            (5, 5, 5, 9),
            (9, 5, 5, 9),
            (100, 0, 120, 50),  # touches the right edge only
            (-10, -10, 0, 0),
            (-1, 10, 20, 60),
        ]
    )
    checked = check_boxes(boxes, SIZE)
    assert {kind: rows.tolist() for kind, rows in checked.problems.items()} == {
        Kind.NON_FINITE: [1, 2],
        Kind.NO_AREA: [3, 4],
        Kind.OUTSIDE_IMAGE: [5, 6],
        Kind.PARTLY_OUTSIDE: [7],
    }
    assert checked.usable.tolist() == [True] + [False] * 6 + [True]
    assert checked.boxes[7].tolist() == [0, 10, 20, 50]
    assert checked.boxes[0].tolist() == [0, 0, 100, 50]


def test_fractions_where_pixels_belong() -> None:
    boxes = np.array([(0.1, 0.2, 0.5, 0.9), (0, 0, 1, 1), (0.5, 0.5, 1.5, 1.5), (0, 0, 1, 0.5)])
    checked = check_boxes(boxes, SIZE)
    assert {kind: rows.tolist() for kind, rows in checked.problems.items()} == {Kind.FRACTIONS: [0, 3]}
    assert checked.usable.tolist() == [False, True, True, False]
    assert not check_boxes(boxes, np.array([8, 8])).problems  # an image of a few pixels may have such boxes


def test_no_boxes() -> None:
    checked = check_boxes(np.zeros((0, 4)), SIZE)
    assert checked.boxes.shape == (0, 4) and checked.usable.shape == (0,) and not checked.problems


def test_a_size_for_every_box() -> None:
    boxes = np.array([(0, 0, 60, 60), (0, 0, 60, 60)])
    checked = check_boxes(boxes, np.array([(100, 100), (50, 40)]))
    assert checked.boxes.tolist() == [[0, 0, 60, 60], [0, 0, 50, 40]]


coordinates = st.one_of(st.floats(-300, 300), st.sampled_from([0.0, 100.0, 50.0, float("nan"), float("inf")]))


@fixed
@given(st.lists(st.tuples(*[coordinates] * 4), max_size=6))
def test_every_box_is_good_or_reported_once(boxes: list[tuple[float, float, float, float]]) -> None:
    given_boxes = np.array(boxes, np.float64).reshape(-1, 4)
    checked = check_boxes(given_boxes, SIZE)
    rows = [row for found in checked.problems.values() for row in found.tolist()]
    assert len(rows) == len(set(rows))
    for row, box in enumerate(given_boxes):
        if checked.usable[row]:
            x1, y1, x2, y2 = checked.boxes[row]
            assert 0 <= x1 < x2 <= 100 and 0 <= y1 < y2 <= 50
            changed = not np.array_equal(checked.boxes[row], box)
            assert changed == (row in checked.problems.get(Kind.PARTLY_OUTSIDE, []))
        else:
            assert row in rows


def test_describe_names_box_and_picture() -> None:
    box = np.array([1.5, 2, 300, 4])
    assert describe(Kind.PARTLY_OUTSIDE, box, (100, 50)) == (
        "box (1.5, 2, 300, 4) lies partly outside the image of 100 x 50 pixels"
    )
    assert "wholly outside" in describe(Kind.OUTSIDE_IMAGE, box, (100, 50))
    assert "fractions of the image where pixels belong" in describe(Kind.FRACTIONS, box, (100, 50))
    assert "no area" in describe(Kind.NO_AREA, box, (100, 50))
    assert "not finite" in describe(Kind.NON_FINITE, box, (100, 50))
