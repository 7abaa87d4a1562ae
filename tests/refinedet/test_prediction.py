from __future__ import annotations

import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from refinedet import Prediction
from refinedet.data.image_io import read_image


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def prediction(**fields):
    boxes = np.array([[10, 20, 50, 40], [0, 0, 80, 60]], np.float32)
    about = {"size": (80, 60), "names": ["b", "a"], **fields}
    return Prediction(boxes, np.array([0.75, 0.5], np.float32), np.array([2, 1]), **about)


def nothing(**fields):
    empty = np.zeros(0, np.float32)
    return Prediction(empty.reshape(0, 4), empty, np.zeros(0, np.int64), [], (80, 60), **fields)


def test_plot_draws_on_the_image_that_was_looked_at(image):
    before = image.copy()
    drawn = prediction(image=image).plot()
    assert drawn.shape == image.shape and drawn.dtype == np.uint8 and (drawn != image).any()
    assert np.array_equal(image, before)
    np.testing.assert_array_equal(prediction(image=image).plot(color="rgb"), drawn[:, :, ::-1])
    assert np.array_equal(nothing(image=image).plot(), image)


def test_plot_reads_a_file_again_as_it_was_read(image, tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), image)
    np.testing.assert_array_equal(prediction(path=str(path)).plot(), prediction(image=image).plot())


def test_plot_on_another_image(image):
    other = np.full_like(image, 90)
    drawn = prediction(image=image).plot(other)
    np.testing.assert_array_equal(drawn, prediction(image=other).plot())
    np.testing.assert_array_equal(prediction().plot(other[:, :, ::-1], color="rgb"), drawn[:, :, ::-1])
    with pytest.raises(ValueError, match="image: expected the size 80 x 60 of this prediction, got 80 x 59"):
        prediction().plot(other[:59])
    with pytest.raises(ValueError, match="color: expected one of"):
        prediction().plot(other, color="grey")


@pytest.mark.parametrize("fields", [{}, {"path": "clip.mp4", "frame": 3, "time": 0.1}])
def test_plot_without_an_image_says_so(fields):
    with pytest.raises(ValueError, match="image: expected one to draw on"):
        prediction(**fields).plot()


def test_save_writes_what_plot_draws(image, tmp_path):
    found = prediction(image=image)
    path = found.save(tmp_path / "drawn.png")
    np.testing.assert_array_equal(read_image(path), found.plot())
    assert found.save(tmp_path / "drawn.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drawn.jpg", "drawn.png"]
    with pytest.raises(ValueError, match="path: expected the suffix of an image format .*, got .*a.xyz"):
        found.save(tmp_path / "a.xyz")


def test_save_does_not_write_over_the_image(image, tmp_path):
    path = tmp_path / "own.png"
    cv2.imwrite(str(path), image)
    before = path.read_bytes()
    (tmp_path / "link.png").symlink_to(path)
    for target in (path, tmp_path / "link.png"):
        with pytest.raises(ValueError, match="path: expected another one than the image's"):
            prediction(path=str(path)).save(target)
    assert path.read_bytes() == before


def test_coco_entries():
    entries = prediction().to_coco(7)
    assert entries[0] == {"image_id": 7, "category_id": 2, "bbox": [10.0, 20.0, 40.0, 20.0], "score": 0.75}
    assert [e["category_id"] for e in prediction().to_coco("x", category_ids=[11, 22])] == [22, 11]
    assert nothing().to_coco(1) == []


def test_yolo_lines():
    assert prediction().to_yolo() == (
        "1 0.375000 0.500000 0.500000 0.333333 0.750000\n0 0.500000 0.500000 1.000000 1.000000 0.500000\n"
    )
    assert nothing().to_yolo() == ""


def test_a_frame_says_which_one_it_is():
    assert "frame" not in prediction().to_dict()
    found = prediction(path="clip.mp4", frame=3, time=0.125).to_dict()
    assert (found["path"], found["frame"], found["time"]) == ("clip.mp4", 3, 0.125)


@pytest.mark.parametrize("make", [prediction, nothing])
def test_pandas(make):
    pytest.importorskip("pandas")
    found = make()
    table = found.to_pandas()
    assert list(table.columns) == ["x1", "y1", "x2", "y2", "score", "label", "name"] and len(table) == len(found)
    np.testing.assert_array_equal(table[["x1", "y1", "x2", "y2"]].to_numpy(), found.boxes)
    assert list(table.name) == found.names and list(table.label) == found.labels.tolist()


@pytest.mark.parametrize("make", [prediction, nothing])
def test_supervision(make):
    supervision = pytest.importorskip("supervision")
    found = make()
    detections = found.to_supervision()
    assert isinstance(detections, supervision.Detections) and len(detections) == len(found)
    assert detections.class_id.tolist() == (found.labels - 1).tolist()
    assert list(detections["class_name"]) == found.names
    assert len(detections[detections.confidence > 0.6]) == (found.scores > 0.6).sum()


def test_what_supervision_is_given(monkeypatch):
    given = {}
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=lambda **fields: given.update(fields)))
    prediction().to_supervision()
    assert given["class_id"].tolist() == [1, 0] and given["data"]["class_name"].tolist() == ["b", "a"]
    assert given["xyxy"].shape == (2, 4) and given["confidence"].tolist() == [0.75, 0.5]


def test_what_pandas_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=dict))
    columns = prediction().to_pandas()
    assert list(columns) == ["x1", "y1", "x2", "y2", "score", "label", "name"]
    assert columns["x2"].tolist() == [50, 80] and list(columns["name"]) == ["b", "a"]


@pytest.mark.parametrize("package", ["pandas", "supervision"])
def test_a_missing_library_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    message = f"Prediction.to_{package} needs the package {package}, .*: pip install {package}"
    with pytest.raises(ImportError, match=message):
        getattr(prediction(), f"to_{package}")()
