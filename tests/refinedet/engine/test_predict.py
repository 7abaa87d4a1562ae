"""`refinedet predict`: what it writes, what it refuses, and what is left when it is interrupted."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest

from refinedet import Predictor
from refinedet.cli import main
from refinedet.data.image_io import read_image
from refinedet.engine.predict import plan_outputs, predict
from refinedet.inference.sources import find_sources
from refinedet.inference.video import read_frames, stated_rate

from ..inference.makers import NAMES, Camera, save_small_model, write_video


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("weights"))


def write_photo(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


@pytest.fixture
def photos(tmp_path) -> Path:
    for i, name in enumerate(("a.jpg", "b.png", "c.gif", "sub/d.jpg")):
        write_photo(tmp_path / "photos" / name, i)
    return tmp_path / "photos"


@pytest.fixture
def run(weights, tmp_path):
    def run(*arguments, output="out", score_threshold="0.0"):
        given = ["--output", str(tmp_path / output), f"--score_threshold={score_threshold}", *map(str, arguments)]
        return main(["predict", "--weights", str(weights), *given])

    return run


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def read(tmp_path: Path, output: str = "out") -> dict:
    return json.loads((tmp_path / output / "detections.json").read_text())


def test_images_keep_their_names_and_formats(run, photos, tmp_path, capsys):
    assert run(photos, photos / "sub/d.jpg") == 0
    assert files(tmp_path / "out") == ["a.jpg", "b.png", "c.png", "d.jpg", "detections.json"]
    content = read(tmp_path)
    assert content["class_names"] == NAMES and content["complete"] and content["failed"] == []
    assert [entry["drawn"] for entry in content["images"]] == ["a.jpg", "b.png", "c.png", "d.jpg"]
    found = content["images"][1]
    assert found["path"] == str(photos / "b.png") and (found["width"], found["height"]) == (64, 48)
    assert len(found["detections"]) == 5 and set(found["detections"][0]) == {"box", "score", "label", "name"}
    drawn, image = read_image(tmp_path / "out/b.png"), read_image(photos / "b.png")
    assert drawn.shape == image.shape and (drawn != image).any()
    assert (tmp_path / "out/a.jpg").read_bytes().startswith(b"\xff\xd8")
    assert "20 detections in 4 images, drawn in" in capsys.readouterr().out


def test_what_is_written_is_what_the_predictor_finds(run, weights, photos, tmp_path):
    assert run(photos, "--save_txt=true", "--save_coco=true", "--save_csv=true", "--save_images=false") == 0
    assert files(tmp_path / "out") == [
        *("coco_results.json", "detections.csv", "detections.json", "labels/a.txt", "labels/b.txt", "labels/c.txt"),
    ]
    expected = Predictor.from_file(weights)(photos, score_threshold=0.0)
    content = read(tmp_path)
    assert content["images"] == [prediction.to_dict() for prediction in expected]
    assert (tmp_path / "out/labels/b.txt").read_text() == expected[1].to_yolo() != ""
    coco = json.loads((tmp_path / "out/coco_results.json").read_text())
    assert coco == [entry for p, name in zip(expected, "abc", strict=True) for entry in p.to_coco(name)]
    with open(tmp_path / "out/detections.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 15 and rows[0]["path"] == str(photos / "a.jpg") and rows[0]["frame"] == ""
    assert [float(rows[0][key]) for key in ("x1", "y1", "x2", "y2")] == pytest.approx(expected[0].boxes[0].tolist())
    assert (rows[0]["label"], rows[0]["name"]) == (str(expected[0].labels[0]), expected[0].names[0])


def test_image_ids_are_numbers_where_the_names_are(run, photos, tmp_path, capsys):
    write_photo(photos / "000000000139.jpg")
    assert run(photos, "--save_coco=true") == 0
    ids = {entry["image_id"] for entry in json.loads((tmp_path / "out/coco_results.json").read_text())}
    assert ids == {139, "a", "b", "c"}
    write_photo(photos / "sub/139.jpg")
    assert run(f"{photos}/**", "--save_coco=true", output="other") == 1
    assert "save_coco: " in (error := capsys.readouterr().err) and "have the same image id, 139" in error
    assert not (tmp_path / "other").exists()


def test_nothing_found_leaves_valid_files(run, photos, tmp_path):
    assert run(photos, "--save_txt=true", "--save_coco=true", "--save_csv=true", score_threshold="1.0") == 0
    assert all(entry["detections"] == [] for entry in read(tmp_path)["images"])
    assert json.loads((tmp_path / "out/coco_results.json").read_text()) == []
    assert (tmp_path / "out/labels/a.txt").read_text() == ""
    assert len((tmp_path / "out/detections.csv").read_text().splitlines()) == 1


def test_classes_and_thresholds_by_name(run, photos, tmp_path, capsys):
    assert run(photos, "--classes", "[white, platelet]") == 0
    names = {found["name"] for entry in read(tmp_path)["images"] for found in entry["detections"]}
    assert names and names <= {"white", "platelet"}
    assert run(photos, "--classes", "white", output="one", score_threshold='{"white": 0.0}') == 0
    assert {found["name"] for entry in read(tmp_path, "one")["images"] for found in entry["detections"]} == {"white"}
    assert run(photos, "--classes", "car", output="none") == 1
    assert "classes: the model has no class 'car', but red, white, platelet" in capsys.readouterr().err
    assert run(photos, output="none", score_threshold='{"car": 0.5}') == 1
    assert "score_threshold: the model has no class 'car'" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_files_that_cannot_be_read_are_named_and_the_others_done(run, photos, tmp_path, capsys):
    (photos / "bad.jpg").write_bytes(b"no image")
    (photos / "empty.png").touch()
    (photos / "text.mp4").write_text("no video")
    assert run(photos) == 1
    out, error = capsys.readouterr()
    for name in ("bad.jpg", "empty.png", "text.mp4"):
        assert name in error
    assert "refinedet: error: 3 of 6 files could not be read" in error and "15 detections in 3 images" in out
    assert files(tmp_path / "out") == ["a.jpg", "b.png", "c.png", "detections.json"]
    content = read(tmp_path)
    assert content["complete"] and {Path(failed["path"]).name for failed in content["failed"]} == {
        *("bad.jpg", "empty.png", "text.mp4"),
    }


def test_hidden_files_and_folders_like_images_are_no_images(run, photos, tmp_path):
    (photos / "._a.jpg").write_bytes(b"of a Mac")
    (photos / "folder.jpg").mkdir()
    assert run(photos) == 0
    assert len(read(tmp_path)["images"]) == 3


def test_nothing_is_replaced_unless_asked(run, photos, tmp_path, capsys):
    assert run(photos) == 0
    before = (tmp_path / "out/detections.json").read_bytes()
    assert run(photos, score_threshold="0.9") == 1
    assert "detections.json and 3 more files would be replaced" in capsys.readouterr().err
    assert (tmp_path / "out/detections.json").read_bytes() == before
    assert run(photos, "--overwrite=true", score_threshold="0.9") == 0
    assert (tmp_path / "out/detections.json").read_bytes() != before


def test_a_free_folder_is_taken_by_default(weights, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs/predict", "runs/predict-2"):
        assert main(["predict", "--weights", str(weights), str(photos / "a.jpg")]) == 0
        assert files(tmp_path / folder) == ["a.jpg", "detections.json"] and f" {folder}/," in capsys.readouterr().out
    assert main(["predict", "--weights", str(weights), "--overwrite=true", str(photos / "a.jpg")]) == 1
    assert "output: expected the folder whose results overwrite is to replace" in capsys.readouterr().err


def test_an_output_that_is_a_file_or_cannot_be_made_is_refused(run, photos, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for output in ("file", "file/out"):
        assert run(photos, output=output) == 1
        assert f"output: expected a folder, {tmp_path / 'file'} is none" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_video(run, tmp_path):
    clip = write_video(tmp_path / "clip.avi", frames=11)
    assert run(clip, "--save_txt=true", "--save_csv=true", "--save_coco=true") == 0
    out = tmp_path / "out"
    labels = [f"labels/clip/{i:06d}.txt" for i in range(11)]
    assert files(out) == ["clip.mp4", "coco_results.json", "detections.csv", "detections.json", *labels]
    images = read(tmp_path)["images"]
    assert [entry["frame"] for entry in images] == list(range(11))
    assert [entry["time"] for entry in images] == pytest.approx([0.1 * i for i in range(11)])
    assert stated_rate(str(out / "clip.mp4")) == pytest.approx(10, abs=0.01)
    frames = list(read_frames(str(out / "clip.mp4")))
    assert len(frames) == 11 and frames[0].pixels.shape == (48, 64, 3) and frames[0].pixels.max() > 100
    assert json.loads((out / "coco_results.json").read_text())[0]["image_id"] == "clip/000000"
    assert run(clip, "--save_txt=true") == 1


@pytest.mark.filterwarnings("default")
def test_a_video_that_was_cut_off_is_named(run, tmp_path, capsys):
    clip = write_video(tmp_path / "clip.avi", frames=40)
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    assert run(clip) == 0
    count = len(read(tmp_path)["images"])
    line = f"refinedet: {clip}: {count} frames can be read, it states 40"
    assert 0 < count < 40 and capsys.readouterr().err.splitlines() == [line]


def test_videos_and_images_in_one_call(run, photos, tmp_path):
    for name in ("one.avi", "two.avi"):
        write_video(photos / name, frames=3)
    write_photo(photos / "one.jpg")
    assert run(photos) == 0
    assert files(tmp_path / "out") == [
        *("a.jpg", "b.png", "c.png", "detections.json", "one.mp4", "one_2.jpg", "two.mp4"),
    ]
    assert len(read(tmp_path)["images"]) == 4 + 6
    assert all(len(list(read_frames(str(tmp_path / "out" / name)))) == 3 for name in ("one.mp4", "two.mp4"))


def test_a_camera_runs_until_it_is_interrupted(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cv2.VideoCapture", type("Stopped", (Camera,), {"end": KeyboardInterrupt}))
    assert run("0") == 130
    monkeypatch.undo()
    content = read(tmp_path)
    assert [entry["frame"] for entry in content["images"]] == [0, 1, 2, 3] and content["complete"] is False
    assert content["images"][0]["path"] == "camera 0"
    assert files(tmp_path / "out") == ["camera_0.mp4", "detections.json"]
    assert len(list(read_frames(str(tmp_path / "out/camera_0.mp4")))) == 4


def test_an_error_in_the_middle_leaves_what_there_was(weights, photos, tmp_path):
    predictor = Predictor.from_file(weights, batch_size=1)
    sources = find_sources([str(photos)])
    plan = plan_outputs(sources, tmp_path / "out", csv=True)
    network, calls = predictor._network, []

    def fail(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise FloatingPointError("NaN")
        return network(images)

    predictor._network = fail
    with pytest.raises(FloatingPointError):
        predict(predictor, sources, plan, score_threshold=0.0)
    content = read(tmp_path)
    assert len(content["images"]) == 2 and content["complete"] is False
    assert files(tmp_path / "out") == ["a.jpg", "b.png", "detections.csv", "detections.json"]


@pytest.mark.parametrize(
    ("signum", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_interruption_leaves_valid_results(weights, tmp_path, signum, status, word):
    photo = write_photo(tmp_path / "photos/0.jpg").read_bytes()
    for i in range(1, 3000):
        (tmp_path / f"photos/{i}.jpg").write_bytes(photo)
    command = [sys.executable, "-m", "refinedet.cli", "predict", "--weights", str(weights), "--output"]
    command += [str(tmp_path / "out"), "--save_coco=true", str(tmp_path / "photos")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=dict(os.environ))
    while not (tmp_path / "out/10.jpg").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signum)
    _, error = process.communicate(timeout=120)
    assert process.returncode == status and error.strip() == f"refinedet: {word}"
    content = read(tmp_path)
    assert content["complete"] is False and 0 < len(content["images"]) < 3000
    json.loads((tmp_path / "out/coco_results.json").read_text())
    assert not list((tmp_path / "out").glob(".*"))


def test_memory_does_not_grow_with_the_number_of_images(weights, tmp_path):
    given, alive = [], []  # images are counted, as the memory of a process is noisy; a prediction holds its own

    def images():
        for _ in range(64):
            image = np.zeros((48, 64, 3), np.uint8)
            given.append(weakref.ref(image))
            alive.append(sum(reference() is not None for reference in given))
            yield image

    assert sum(1 for _ in Predictor.from_file(weights, batch_size=4).stream(images())) == 64
    assert max(alive) <= 12


def test_a_file_that_cannot_be_drawn_ends_the_run(weights, photos, tmp_path, monkeypatch):
    def full(path, image):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("refinedet.inference.drawing.write_image", full)
    sources = find_sources([str(photos)])
    with pytest.raises(OSError, match="No space left on device: .*out/[abc]."):
        predict(Predictor.from_file(weights), sources, plan_outputs(sources, tmp_path / "out"), score_threshold=0.5)
    assert read(tmp_path)["complete"] is False
