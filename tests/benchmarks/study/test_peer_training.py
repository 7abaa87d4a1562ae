"""What the trainings of the study of peers share: the clock, the files, the check of a runtime, YOLO's text files."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.study.peer_training.clock import TrainingClock
from benchmarks.study.peer_training.task import HISTORY, Photographs, Task, results_of, write_history
from benchmarks.study.peer_training.timing import Disagreement, Found, check_same, milliseconds, overlaps
from benchmarks.study.peer_training.yolo_layout import write_layout
from refinedet.evaluation import Evaluator

CONTENT = {
    "images": [
        {"id": "one", "file_name": "one.jpg", "width": 64, "height": 48},
        {"id": "two", "file_name": "two.jpg", "width": 64, "height": 48},
    ],
    "annotations": [
        {"id": 1, "image_id": "one", "category_id": 7, "bbox": [8, 12, 16, 24], "area": 384, "iscrowd": 0},
        {"id": 2, "image_id": "one", "category_id": 3, "bbox": [0, 0, 64, 48], "area": 3072, "iscrowd": 0},
    ],
    "categories": [{"id": 3, "name": "cell"}, {"id": 7, "name": "disc"}],
}


@pytest.fixture
def part(tmp_path):
    (tmp_path / "part.json").write_text(json.dumps(CONTENT))
    return Photographs.read(tmp_path / "part.json", tmp_path / "photographs")


class Time:
    """A processor whose time the test tells."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def trained(seconds_of_steps, limit=10.0, points=(0.5, 1.0), copying=0.0):
    """The clock after steps that took so long each, as far as it let them go on."""
    time = Time()
    clock = TrainingClock(limit, points, now=time)
    time.now += 1000  # start-up
    clock.start()

    def copy():
        time.now += copying
        return f"after {clock.steps}"

    for seconds in seconds_of_steps:
        time.now += seconds
        if clock.after_step(4, copy):
            break
    return clock


def test_clock_ends_at_its_limit_with_a_snapshot_at_every_point():
    clock = trained([3.0] * 9)
    assert (clock.steps, clock.images, clock.share) == (4, 16, 1.0)
    assert [(s.seconds, s.steps, s.images, s.weights) for s in clock.snapshots] == [
        (6.0, 2, 8, "after 2"),
        (12.0, 4, 16, "after 4"),
    ]


def test_clock_stands_still_while_weights_are_copied():
    clock = trained([3.0] * 9, copying=50.0)
    assert [s.seconds for s in clock.snapshots] == [6.0, 12.0]


def test_a_step_that_passes_several_points_leaves_one_snapshot():
    clock = trained([20.0, 1.0], points=(0.25, 0.5, 1.0))
    assert [s.steps for s in clock.snapshots] == [1]


def test_a_training_that_ends_by_itself_leaves_its_last_weights_once():
    clock = trained([3.0, 3.0])
    for _ in range(2):
        clock.finish(lambda: "last")
    assert [s.weights for s in clock.snapshots] == ["after 2", "last"]
    over = trained([3.0] * 9)
    over.finish(lambda: "never")
    assert len(over.snapshots) == 2


@pytest.mark.parametrize(
    ("limit", "points", "message"),
    [
        (0.0, [1.0], "limit: expected a positive number of seconds, got 0.0"),
        (1.0, [], "points: expected rising shares up to 1"),
        (1.0, [0.5], "points: expected rising shares up to 1"),
        (1.0, [0.5, 0.2, 1.0], "points: expected rising shares up to 1"),
        (1.0, [0.0, 1.0], "points: expected rising shares up to 1"),
    ],
)
def test_clock_refuses(limit, points, message):
    with pytest.raises(ValueError, match=message):
        TrainingClock(limit, points)


def test_photographs_have_corners_and_labels_in_the_order_of_the_categories(part, tmp_path):
    one, two = part.items
    assert one.path == tmp_path / "photographs/one.jpg"
    assert (one.boxes, one.labels) == ([[8, 12, 24, 36], [0, 0, 64, 48]], [2, 1])
    assert (two.boxes, two.labels) == ([], [])
    assert (part.class_names, part.category_ids) == (["cell", "disc"], [3, 7])


def test_results_of_the_objects_themselves_have_all_of_the_accuracy(part):
    one = part.items[0]
    evaluator = Evaluator(CONTENT)
    evaluator.load_results(results_of(one, one.boxes, [0.9, 0.8], one.labels, part.category_ids))
    assert evaluator.compute("coco")["AP"] == pytest.approx(1)


def test_a_label_without_a_category_is_refused(part):
    with pytest.raises(KeyError):
        results_of(part.items[0], [[0, 0, 1, 1]], [0.5], [0], part.category_ids)


def test_a_task_and_its_history_survive_their_files(tmp_path):
    task = Task("x", 3, 1.5, [0.5, 1.0], "i", "a", "b", "c", str(tmp_path), None, {"model": "m"})
    task.write(tmp_path / "task.json")
    assert Task.read(tmp_path / "task.json") == task
    clock = trained([5.0, 5.0])
    write_history(tmp_path, clock.snapshots, [[], [{"image_id": "one"}]], parameters=5)
    history = json.loads((tmp_path / HISTORY).read_text())
    assert history["about"] == {"parameters": 5}
    assert [point["images"] for point in history["points"]] == [4, 8]
    assert json.loads((tmp_path / history["points"][1]["detections"]).read_text()) == [{"image_id": "one"}]


def test_yolo_layout(part, tmp_path):
    (tmp_path / "photographs").mkdir()
    for item in part.items:
        item.path.write_bytes(item.id.encode())
    for _ in range(2):  # the second run finds the first one's files
        file = write_layout(tmp_path / "yolo", {"train": part, "val": part})
    assert file.read_text().splitlines() == [
        f"path: {tmp_path / 'yolo'}",
        "train: images/train",
        "val: images/val",
        "names:",
        '  0: "cell"',
        '  1: "disc"',
    ]
    assert (tmp_path / "yolo/images/val/two.jpg").read_bytes() == b"two"
    assert (tmp_path / "yolo/labels/train/one.txt").read_text().splitlines() == [
        "1 0.250000 0.500000 0.250000 0.500000",
        "0 0.500000 0.500000 1.000000 1.000000",
    ]
    assert (tmp_path / "yolo/labels/train/two.txt").read_text() == ""


def found(*rows):
    table = np.array(rows, float).reshape(-1, 6)
    return Found(table[:, :4], table[:, 4], table[:, 5].astype(int))


SURE = (10, 10, 50, 50, 0.9, 1)


def test_runtimes_agree_up_to_rounding_and_about_what_they_doubt():
    rounded = found((10.1, 10, 50, 50.1, 0.89, 1))
    check_same([found(SURE, (0, 0, 9, 9, 0.27, 1)), found()], [rounded, found()], "float32")
    with pytest.raises(Disagreement):
        check_same([found(SURE)], [found((10, 10, 50, 50, 0.85, 1))], "float32")
    check_same([found(SURE)], [found((10, 10, 50, 50, 0.85, 1))], "bfloat16")


def test_a_few_boxes_may_be_others_in_bfloat16():
    many = [(60.0 * i, 0, 60.0 * i + 50, 50, 0.9, 1) for i in range(10)]
    check_same([found(*many)], [found(*many[:8])], "bfloat16")
    with pytest.raises(Disagreement, match="finds 9 of 10 detections"):
        check_same([found(*many)], [found(*many[:9])], "float32")
    with pytest.raises(Disagreement, match="should find 7 of 10 detections"):
        check_same([found(*many[:7])], [found(*many)], "bfloat16")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (found(), "finds 0 of 1 detections"),
        (found((10, 10, 50, 50, 0.9, 2)), "finds 0 of 1 detections"),
        (found((10, 10, 50, 50, 0.8, 1)), "finds 0 of 1 detections"),
        (found((14, 14, 54, 54, 0.9, 1)), "finds 0 of 1 detections"),
        (found(SURE, (60, 60, 90, 90, 0.5, 2)), "should find 1 of 2 detections"),
    ],
    ids=["none", "class", "score", "box", "one more"],
)
def test_a_runtime_that_finds_something_else_is_noticed(other, message):
    with pytest.raises(Disagreement, match=message):
        check_same([found(SURE)], [other], "float32")


def test_overlaps():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]], float)
    assert overlaps(boxes[0], boxes) == pytest.approx([1, 1 / 3, 0])


def test_every_image_of_a_pass_is_detected_in(monkeypatch):
    monkeypatch.setattr("benchmarks.study.peer_training.timing.SECONDS", 0.0)
    seen = []
    measured = milliseconds(seen.append, ["a", "b"])
    assert seen == ["a", "b"] * measured["passes"] and measured["passes"] == 3
    assert 0 <= measured["least"] <= measured["ms"] <= measured["most"]
