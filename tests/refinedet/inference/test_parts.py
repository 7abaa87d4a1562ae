"""What several processes found, put together."""

from __future__ import annotations

import numpy as np

from refinedet.inference.parts import PartFile, read_failures, read_predictions
from refinedet.prediction import Prediction


def prediction(path: str, count: int = 1, frame: int | None = None) -> Prediction:
    rng = np.random.default_rng(len(path))
    boxes = np.sort(rng.random((count, 4), np.float32) * 50, axis=1)
    labels = rng.integers(1, 4, count)
    time = None if frame is None else frame / 3
    return Prediction(
        boxes, rng.random(count, np.float32), labels, [f"class {i}" for i in labels], (64, 48), path, frame, time
    )


def test_predictions_come_in_the_order_of_their_sources(tmp_path):
    order = ["a.png", "clip.avi", "bad.png", "empty.png", "d.png", "worse.png"]
    first = [prediction("clip.avi", 2, frame=0), prediction("clip.avi", frame=1), prediction("d.png", 3)]
    second = [prediction("a.png"), prediction("empty.png", 0)]
    paths = [tmp_path / "0", tmp_path / "1"]
    for path, found in zip(paths, (first, second), strict=True):
        part = PartFile(path, order)
        part.add_failure("worse.png" if found is first else "bad.png", ValueError(f"no image, says {path.name}"))
        for one in found:
            part.add(one)
        part.close(complete=True)
    together = list(read_predictions(paths))
    for got, expected in zip(together, [second[0], *first[:2], second[1], first[2]], strict=True):
        assert got.to_dict() == expected.to_dict() and got.boxes.dtype == got.scores.dtype == np.float32
        assert got.boxes.tobytes() == expected.boxes.tobytes()
    assert read_failures(paths) == [("bad.png", "no image, says 1"), ("worse.png", "no image, says 0")]


def test_a_line_that_its_process_did_not_finish_is_left_out(tmp_path):
    part = PartFile(tmp_path / "0", ["a.png", "b.png"])
    part.add(prediction("a.png"))
    whole = (tmp_path / "0").read_bytes()  # on disk before it is closed
    part.add(prediction("b.png"))
    part.close(complete=False)
    (tmp_path / "0").write_bytes((tmp_path / "0").read_bytes()[: len(whole) + 40])
    assert [found.path for found in read_predictions([tmp_path / "0", tmp_path / "never written"])] == ["a.png"]
