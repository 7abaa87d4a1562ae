"""`refinedet predict` and `eval` by several processes, as torchrun starts them, and what they share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import refinedet
from refinedet.cli import main
from refinedet.engine.process_group import ProcessGroup

from ..inference.makers import save_small_model, write_video


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(7):
        pixels = np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8)
        (folder / f"{i}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return folder


def start(*arguments: object) -> subprocess.Popen[str]:
    """Two processes of a command."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*torchrun, "-m", "refinedet.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_two_processes_leave_the_files_of_one(weights, photos, tmp_path):
    write_video(photos / "clip.avi", 3)
    arguments = ["predict", "--weights", weights, "--score_threshold=0", "--batch_size=2", "--save_txt=true"]
    arguments += ["--save_coco=true", "--save_csv=true", photos]
    assert main([*map(str, arguments), "--output", str(tmp_path / "one")]) == 0
    run = start(*arguments, "--output", tmp_path / "two")
    out, error = run.communicate(timeout=200)
    assert run.returncode == 0, error[-2000:]
    assert "detections in 10 images" in out and out.count("detections in") == 1
    expected = contents(tmp_path / "one")
    assert len(expected) == 3 + 7 + 7 + 1 + 3
    assert contents(tmp_path / "two") == expected


@pytest.mark.slow
def test_what_one_process_cannot_read_ends_all_with_status_1(weights, photos, tmp_path):
    (photos / "3.png").write_bytes(b"no image")
    (photos / "5.png").write_bytes(b"no image either")
    # One image a batch: the CPU's convolutions round differently in batches of another size.
    arguments = ["predict", "--weights", weights, "--score_threshold=0", "--batch_size=1", photos, "--output"]
    assert main([*map(str, arguments), str(tmp_path / "one")]) == 1
    done, statuses = statuses_of(tmp_path, *arguments, tmp_path / "two")
    assert statuses == ["1", "1"]
    assert "detections in 5 images" in done.stdout and done.stdout.count("detections in") == 1
    assert done.stderr.count("refinedet: left out") == 2 and done.stderr.count("2 of 7 files could not be read") == 1
    expected = contents(tmp_path / "one")
    assert len(expected) == 6 and len(json.loads(expected["detections.json"])["failed"]) == 2
    assert contents(tmp_path / "two") == expected


@pytest.mark.slow
def test_what_the_first_process_refuses_is_said_once(weights, tmp_path):
    done, statuses = statuses_of(tmp_path, "predict", "--weights", weights, "--output", tmp_path / "out", "nothing.jpg")
    assert statuses == ["1", "1"] and done.stderr.count("images: no file or folder nothing.jpg") == 1
    assert not (tmp_path / "out").exists()


def statuses_of(folder: Path, *arguments: object) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """A command in two processes, and the exit status of each."""
    script = folder / "run.py"
    script.write_text(
        "import os, sys\nfrom refinedet.cli import main\n"
        "try:\n    status = main(sys.argv[2:])\nexcept SystemExit as error:\n    status = error.code\n"
        "open(sys.argv[1] + os.environ['RANK'], 'w').write(str(status))\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, script, folder / "status", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=200)
    return done, [(folder / f"status{rank}").read_text() for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others(weights, photos, tmp_path, rank):
    photo = (photos / "0.png").read_bytes()
    for i in range(10, 4000):
        (photos / f"{i}.png").write_bytes(photo)
    run = start("predict", "--weights", weights, "--output", tmp_path / "out", "--save_coco=true", photos)
    while len(list((tmp_path / "out").glob("*.png"))) < 20:
        assert run.poll() is None, run.communicate()[1][-2000:]
        time.sleep(0.05)
    killed = worker(run.pid, rank)
    os.kill(killed, signal.SIGKILL)
    _, error = run.communicate(timeout=100)
    assert run.returncode == 1 and "Signal 9 (SIGKILL)" in error
    if rank == 1:  # the first process leaves what there is
        found = json.loads((tmp_path / "out/detections.json").read_text())
        assert found["complete"] is False and 0 < len(found["images"]) < 3900
        json.loads((tmp_path / "out/coco_results.json").read_text())
        # What it was writing, the killed process itself cannot remove.
        assert {path.suffixes[-2] for path in (tmp_path / "out").glob(".*.part")} <= {f".{killed}"}
    else:
        assert not (tmp_path / "out/detections.json").exists()


def worker(parent: int, rank: int) -> int:
    """The process of this rank."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
            return int(child)
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [None, "320_voc"])
def test_two_processes_measure_as_one(rendered, tmp_path, recipe):
    model = refinedet.create_model("refinedet192_small", 7, input_size=64, tcb_channels=16)
    names = [c["name"] for c in json.loads((rendered / "annotations/test.json").read_text())["categories"]]
    file = refinedet.save_model(model, tmp_path / "m.safetensors", class_names=names)
    arguments = ["eval", "--weights", file, "--data.format=coco", f"--data.root={rendered}"]
    arguments += ["--data.test.image_dir=test", "--data.test.annotation_file=annotations/test.json"]
    arguments += ["--data.workers=0", "--data.eval_batch_size=3"]
    arguments += [] if recipe is None else [f"--multi_scale={recipe}"]
    assert main([*map(str, arguments), "--output", str(tmp_path / "one")]) == 0
    run = start(*arguments, "--output", tmp_path / "two")
    out, error = run.communicate(timeout=250)
    assert run.returncode == 0, error[-2000:]
    assert out.count("written to") == 1
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert len(json.loads(one["detections.json"])) > 0
    assert two == one


def test_alone():
    alone = ProcessGroup()
    assert alone.is_first and alone.from_first(lambda: 3) == 3 and alone.gather("x") == ["x"]
    assert list(alone.claim(range(5), 2)) == [range(2), range(2, 4), range(4, 5)]
    assert alone.add("images", 2) == 2 and alone.add("images", 3) == 5 and alone.add("other", 0) == 0
    assert torch.device(alone.device("cuda:1")) == torch.device("cuda:1")
    with pytest.raises(ValueError, match="went wrong"):
        alone.from_first(lambda: fail("went wrong"))


def fail(text: str) -> None:
    raise ValueError(text)


def test_shares_are_whole_batches_and_everything_once():
    shares = [ProcessGroup(rank, 3).share(range(11), 2) for rank in range(3)]
    assert shares == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10]]
    assert ProcessGroup(2, 3).share(range(4), 2) == []


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert ProcessGroup(5, 8, local_rank=1).device("cuda") == torch.device("cuda", 1)
    assert ProcessGroup(5, 8, local_rank=1).device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device: expected cuda, .* each of 8 processes has its own, got cuda:0"):
        ProcessGroup(5, 8, local_rank=1).device("cuda:0")
    with pytest.raises(ValueError, match="got process 3 of this machine and 2 GPUs"):
        ProcessGroup(2, 8, local_rank=2).device("cuda")
