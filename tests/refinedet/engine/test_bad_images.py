"""Images that go bad and workers that die while a model trains or is measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from refinedet import create_model
from refinedet.data import ImageReadError
from refinedet.data.synthetic import render_dataset
from refinedet.engine import RunConfig
from refinedet.engine.evaluate import evaluate
from refinedet.engine.splits import open_split
from refinedet.engine.train import train
from refinedet.inference import MultiScale, Pass


@pytest.fixture
def own(config: RunConfig, tmp_path: Path) -> RunConfig:
    """The run with a data set of its own."""
    render_dataset(tmp_path / "data", train=12, test=4, size=128, seed=1)
    return replace(config, data=replace(config.data, root=str(tmp_path / "data")))


def damage(path: Path) -> None:
    """Behind a good header."""
    data = bytearray(path.read_bytes())
    assert data[1:4] == b"PNG"
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def images(config: RunConfig, part: str) -> list[Path]:
    return sorted(Path(str(config.data.root), part).iterdir())


@pytest.fixture
def as_png(own: RunConfig) -> RunConfig:
    """PNG files, in which damage shows; OpenCV decodes as much of a damaged JPEG as there is."""
    for part in ("train", "test"):
        file = Path(str(own.data.root), f"annotations/{part}.json")
        content = json.loads(file.read_text())
        for entry in content["images"]:
            path = Path(str(own.data.root), part, entry["file_name"])
            entry["file_name"] = path.with_suffix(".png").name
            pixels = cv2.imread(str(path))
            path.unlink()
            assert cv2.imwrite(str(path.with_suffix(".png")), pixels)
        file.write_text(json.dumps(content))
    return own


@pytest.mark.parametrize("workers", [0, 1])
def test_training_goes_on_and_counts(as_png: RunConfig, workers: int, caplog: pytest.LogCaptureFixture) -> None:
    damaged = images(as_png, "train")[:2]
    for path in damaged:
        damage(path)
    result = train(replace(as_png, data=replace(as_png.data, workers=workers)))
    assert result.last.is_file()
    text = caplog.text
    assert [text.count(f"cannot decode {path}") for path in damaged] == [1, 1]
    assert "2 of 12 training images could not be read; others stood in for them" in text


def test_on_error_raise_ends_the_run_with_the_files_name(as_png: RunConfig) -> None:
    damage(images(as_png, "train")[0])
    with pytest.raises(ImageReadError, match=r"^cannot decode \S+000001.png: not an image, or a damaged one$"):
        train(replace(as_png, data=replace(as_png.data, on_error="raise", workers=1)))


@pytest.mark.parametrize("scales", [None, MultiScale((Pass(64, 64),))])
def test_an_evaluation_counts_them_as_images_without_detections(
    as_png: RunConfig, scales: MultiScale | None, tmp_path: Path
) -> None:
    dataset = open_split(as_png.data, "val")
    model = create_model("refinedet192_small", len(dataset.class_names) + 1, input_size=64, tcb_channels=16)
    damage(images(as_png, "test")[1])
    evaluate(model, dataset, output=tmp_path / "eval", batch_size=2, workers=0, multi_scale=scales)
    written = json.loads((tmp_path / "eval/metrics.json").read_text())
    assert written["unreadable"] == 1 and written["images"] == 4
    found = json.loads((tmp_path / "eval/detections.json").read_text())
    ids = set(dataset.image_ids)
    assert {entry["image_id"] for entry in found} == ids - {dataset.image_ids[1]}
    for path in images(as_png, "test"):
        path.unlink()
    with pytest.raises((ImageReadError, FileNotFoundError)):
        evaluate(model, dataset, batch_size=2, workers=0, multi_scale=scales)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_a_killed_worker_ends_the_run_with_one_line_and_a_whole_checkpoint(own: RunConfig, tmp_path: Path) -> None:
    output = tmp_path / "killed"
    command = [
        *(sys.executable, "-m", "refinedet.cli", "train", f"--data.root={own.data.root}", "--data.format=coco"),
        *("--data.train.image_dir=train", "--data.train.annotation_file=annotations/train.json"),
        *("--data.val.image_dir=test", "--data.val.annotation_file=annotations/test.json"),
        *("--data.batch_size=4", "--data.workers=1", "--model.name=refinedet192_small"),
        *('--model.options={"input_size": 64, "tcb_channels": 16}', "--train.epochs=500"),
        *("--train.accelerator=cpu", "--train.devices=1", "--train.eval_every=500", "--train.save_minutes=0.01"),
        f"--output={output}",
    ]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        checkpoint = output / "checkpoints/last.ckpt"
        limit = time.monotonic() + 120
        while not checkpoint.is_file() or not children(run.pid):
            assert run.poll() is None and time.monotonic() < limit, run.communicate()
            time.sleep(0.05)
        for worker in children(run.pid):
            os.kill(worker, signal.SIGKILL)
        _, errors = run.communicate(timeout=120)
    finally:
        run.kill()
    last = errors.strip().splitlines()[-1]
    assert run.returncode == 1
    assert "DataLoader worker" in last and last.startswith("refinedet: error:"), errors
    assert "Traceback" not in errors
    state = torch.load(checkpoint, map_location="cpu", weights_only=False)
    assert state["global_step"] > 0 and all(np.isfinite(v).all() for v in map(np.asarray, state["state_dict"].values()))
