"""Detection records, their way to padded form and to COCO result files, and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refinedet.evaluation import (
    ImageDetections,
    ResultsError,
    check_results,
    from_coco_results,
    from_padded,
    read_results,
    to_coco_results,
    to_padded,
    write_results,
)
from refinedet_ext.results import Detections

from .scenes import make_record

GOOD = {"image_id": 1, "category_id": 2, "bbox": [1.5, 2, 3, 4], "score": 0.5}


def _padded(dtype=np.float32):
    boxes = np.zeros((2, 3, 4), dtype)
    boxes[0, 0] = [0.25, 0.5, 0.75, 1.0]
    boxes[0, 1] = [-0.5, 0.0, 0.5, 1.5]
    scores = np.array([[0.75, 0.5, 0], [0, 0, 0]], dtype)
    labels = np.array([[2, 1, 0], [0, 0, 0]])
    return Detections(boxes, scores, labels, np.array([2, 0]))


SIZES = [(200, 100), (50, 60)]


def test_from_padded_scales_clips_and_cuts_the_padding():
    first, second = from_padded(_padded(), SIZES, ["p", 7])
    assert (first.image_id, second.image_id) == ("p", 7)
    np.testing.assert_array_equal(first.boxes, [[50, 50, 150, 100], [0, 0, 100, 100]])
    np.testing.assert_array_equal(first.scores, [0.75, 0.5])
    np.testing.assert_array_equal(first.labels, [2, 1])
    assert len(second) == 0 and second.boxes.shape == (0, 4)


def test_from_padded_can_leave_boxes_unclipped():
    first = from_padded(_padded(), SIZES, ["p", 7], clip=False)[0]
    np.testing.assert_array_equal(first.boxes[1], [-100, 0, 100, 150])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_from_padded_takes_tensors_of_any_kind(dtype):
    padded = _padded()
    tensors = Detections(
        torch.tensor(padded.boxes, dtype=dtype, requires_grad=True),
        torch.tensor(padded.scores, dtype=dtype),
        torch.tensor(padded.labels),
        torch.tensor(padded.count),
    )
    expected = from_padded(padded, SIZES, [1, 2])
    for got, want in zip(from_padded(tensors, SIZES, [1, 2]), expected, strict=True):
        np.testing.assert_array_equal(got.boxes, want.boxes)
        np.testing.assert_array_equal(got.scores, want.scores)


def test_a_batch_without_images():
    empty = Detections(np.zeros((0, 5, 4)), np.zeros((0, 5)), np.zeros((0, 5)), np.zeros(0))
    assert from_padded(empty, [], []) == []
    assert to_padded([], []).boxes.shape == (0, 0, 4)


def test_to_padded_sorts_and_cuts():
    records = [
        make_record(1, (1, 0.2, [0, 0, 20, 10]), (2, 0.9, [0, 0, 100, 50]), (3, 0.5, [0, 0, 2, 2])),
        make_record(2),
    ]
    padded = to_padded(records, SIZES, max_detections=2)
    np.testing.assert_array_equal(padded.scores, [[0.9, 0.5], [0, 0]])
    np.testing.assert_array_equal(padded.labels, [[2, 3], [0, 0]])
    np.testing.assert_array_equal(padded.count, [2, 0])
    np.testing.assert_array_equal(padded.boxes[0, 0], [0, 0, 0.5, 0.5])
    assert to_padded(records, SIZES).boxes.shape == (2, 3, 4)
    assert to_padded(records, SIZES, max_detections=5).boxes.shape == (2, 5, 4)


def _records(seed):
    """Four images with 0 to 3 detections, best first."""
    rng = np.random.default_rng(seed)
    return [
        ImageDetections(
            image,
            np.sort(rng.uniform(0, 40, (image, 2, 2)), axis=1).reshape(-1, 4),
            -np.sort(-rng.uniform(0, 1, image)),
            rng.integers(1, 4, image),
        )
        for image in range(4)
    ]


RECORDS = st.integers(0, 10_000).map(_records)


@settings(max_examples=20, deadline=None)
@given(records=RECORDS)
def test_padded_and_back(records):
    sizes = [(40, 50), (60, 40), (41, 43), (64, 64)]
    back = from_padded(to_padded(records, sizes), sizes, range(4))
    for got, want in zip(back, records, strict=True):
        np.testing.assert_allclose(got.boxes, want.boxes, rtol=1e-12)
        np.testing.assert_array_equal(got.scores, want.scores)
        np.testing.assert_array_equal(got.labels, want.labels)


@settings(max_examples=20, deadline=None)
@given(records=RECORDS)
def test_file_and_back(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("results") / "new" / "results.json"
    categories = [18, 3, 90]
    write_results(path, to_coco_results(records, categories))
    read = read_results(path, image_ids=range(4), category_ids=categories)
    for got, want in zip(from_coco_results(read, categories, range(4)), records, strict=True):
        assert got.image_id == want.image_id
        np.testing.assert_allclose(got.boxes, want.boxes, rtol=1e-12)
        np.testing.assert_array_equal(got.scores, want.scores)
        np.testing.assert_array_equal(got.labels, want.labels)


def test_results_without_image_list_come_by_first_appearance():
    entries = [{**GOOD, "image_id": i} for i in ("q", "p", "q")]
    records = from_coco_results(entries)
    assert [(record.image_id, len(record)) for record in records] == [("q", 2), ("p", 1)]
    np.testing.assert_array_equal(records[0].boxes[0], [1.5, 2, 4.5, 6])


def test_numpy_numbers_are_written_plainly(tmp_path):
    entry = {
        "image_id": np.int64(1),
        "category_id": np.int32(2),
        "bbox": np.array([1.5, 2, 3, 4], np.float32),
        "score": np.float32(0.5),
    }
    write_results(tmp_path / "r.json", [entry])
    assert json.loads((tmp_path / "r.json").read_text()) == [GOOD]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": None}, "entry 1: image_id: expected an integer or a string, got None"),
        ({"image_id": True}, "entry 1: image_id: expected an integer or a string, got True"),
        ({"category_id": 1.5}, "entry 1: category_id: expected an integer, got 1.5"),
        ({"bbox": [1, 2, 3]}, r"entry 1: bbox: expected \[x, y, w, h\].* got \[1, 2, 3\]"),
        ({"bbox": [1, 2, -3, 4]}, r"entry 1: bbox: .*w >= 0.* got \[1, 2, -3, 4\]"),
        ({"bbox": [1, 2, float("nan"), 4]}, "entry 1: bbox: .*finite"),
        ({"bbox": "1234"}, "entry 1: bbox: expected"),
        ({"score": float("inf")}, "entry 1: score: expected a finite number, got inf"),
        ({"score": "0.5"}, "entry 1: score: expected a finite number, got '0.5'"),
    ],
)
def test_a_bad_entry_is_named(tmp_path, change, message):
    entries = [GOOD, {**GOOD, **change}]
    with pytest.raises(ResultsError, match=message):
        check_results(entries)
    path = tmp_path / "r.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(ResultsError, match=rf"r\.json: {message}"):
        read_results(path)
    with pytest.raises(ResultsError, match=message):
        write_results(tmp_path / "new.json", entries)
    assert not (tmp_path / "new.json").exists()


def test_bad_lists_and_unknown_ids_are_named(tmp_path):
    with pytest.raises(ResultsError, match="results: expected a list of results, got dict"):
        check_results({})
    with pytest.raises(ResultsError, match="entry 0: expected an object, got list"):
        check_results([[]])
    with pytest.raises(ResultsError, match=r"entry 0: bbox, score missing, has \['category_id"):
        check_results([{"image_id": 1, "category_id": 1}])
    with pytest.raises(ResultsError, match="entry 0: image_id: no such image 1"):
        check_results([GOOD], image_ids=[2])
    with pytest.raises(ResultsError, match="entry 0: category_id: no such category 2"):
        check_results([GOOD], category_ids=[1])
    (tmp_path / "broken.json").write_text("[{]")
    with pytest.raises(ResultsError, match=r"broken\.json: not a JSON file"):
        read_results(tmp_path / "broken.json")
    with pytest.raises(FileNotFoundError):
        read_results(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "message"),
    [
        (np.zeros((3, 5)), [0, 0, 0], [1, 1, 1], r"boxes: expected shape \(N, 4\), got \(3, 5\)"),
        (np.zeros((2, 4)), [0.0], [1, 1], r"scores: expected shape \(2,\), got \(1,\)"),
        (np.zeros((2, 4)), [0.0, 1.0], [1], r"labels: expected shape \(2,\), got \(1,\)"),
        ([[0, 0, 1, 1]], [np.nan], [1], "scores: expected finite values, row 0 is nan"),
        ([[0, 0, np.inf, 1]], [0.5], [1], "boxes: expected finite"),
        ([[5, 0, 1, 1]], [0.5], [1], "boxes: .*row 0 is .5.0, 0.0, 1.0, 1.0"),
        ([[0, 0, 1, 1]], [0.5], [0], "labels: expected 1 or above, row 0 is 0"),
        ([[0, 0, 1, 1]], [0.5], [1.5], "labels: expected integers"),
    ],
)
def test_a_bad_record_is_named(boxes, scores, labels, message):
    with pytest.raises(ResultsError, match=f"detections of image 'p': {message}"):
        ImageDetections("p", boxes, scores, labels)


def test_bad_batches_are_named():
    padded = _padded()
    with pytest.raises(ValueError, match=r"original_sizes: expected 2 entries.* got 1"):
        from_padded(padded, SIZES[:1], [1, 2])
    with pytest.raises(ValueError, match=r"image_ids: expected 2 entries.* got 3"):
        from_padded(padded, SIZES, [1, 2, 3])
    with pytest.raises(ValueError, match=r"original_sizes\[1\]: expected \(width, height\) above"):
        from_padded(padded, [(5, 5), (0, 5)], [1, 2])
    with pytest.raises(ValueError, match=r"detections.boxes: expected shape \(B, K, 4\)"):
        from_padded(padded._replace(boxes=np.zeros((2, 12))), SIZES, [1, 2])
    with pytest.raises(ValueError, match=r"detections.scores: expected shape \(2, 3\)"):
        from_padded(padded._replace(scores=np.zeros((2, 4))), SIZES, [1, 2])
    with pytest.raises(ValueError, match=r"detections.count: .* 0..3, .* \[4, 0\]"):
        from_padded(padded._replace(count=np.array([4, 0])), SIZES, [1, 2])
    with pytest.raises(ResultsError, match="labels: expected 1..2, got 3"):
        to_coco_results([make_record(1, (3, 0.5, [0, 0, 1, 1]))], [1, 2])
    with pytest.raises(ValueError, match="max_detections: expected 0 or above, got -1"):
        to_padded([], [], max_detections=-1)
    with pytest.raises(ValueError, match="original_sizes: expected 1 entries"):
        to_padded([make_record(1)], [])
