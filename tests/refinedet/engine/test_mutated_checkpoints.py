"""Mutated checkpoints, and those that were changed by hand, are refused by name before anything is written."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refinedet.engine import RunConfig, TrainConfig
from refinedet.engine.checkpoints import RUN
from refinedet.engine.resume import read_checkpoint
from refinedet.engine.train import train

from ..mutations import EDITS, Edits, edited


@pytest.fixture
def run(config: RunConfig) -> RunConfig:
    """A run that has ended, to be resumed."""
    config = replace(config, train=TrainConfig(epochs=2, accelerator="cpu", devices=1, loggers=[], ema=0.9))
    train(config)
    return replace(config, train=replace(config.train, resume=str(Path(config.output) / "checkpoints/last.ckpt")))


def with_pickle(archive: bytes, edits: Edits) -> bytes:
    """The archive with edits in what describes the tensors, its checksums put right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, edited(data, edits) if name.endswith("/data.pkl") else data)
    return out.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
def test_mutated_checkpoints(run: RunConfig, tmp_path: Path) -> None:
    content = torch.load(str(run.train.resume), weights_only=True)
    content["state_dict"] = dict(list(content["state_dict"].items())[:3])  # small files are read soon
    content |= {"callbacks": {}, "optimizer_states": []}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    path, good = tmp_path / "m.ckpt", buffer.getvalue()

    @settings(derandomize=True, deadline=None, max_examples=400)
    @given(EDITS, st.booleans(), st.floats(0, 5))
    def check(edits: Edits, in_pickle: bool, kept: float) -> None:
        data = with_pickle(good, edits) if in_pickle else edited(good, edits)
        path.write_bytes(data[: round(kept * len(data))])
        try:
            found = read_checkpoint(str(path))
        except ValueError as error:
            assert str(error).startswith(f"train.resume: {path} ") and len(str(error)) < 1000
        else:
            assert found.run["class_names"] and found.loop

    check()


def remove(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def put(value: Any, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


LOOP = ("loops", "fit_loop")
WEIGHT = "model.odm.cls.0.weight"
CHANGES = {
    "no classes": (remove(RUN, "class_names"), f"is damaged: {RUN}.class_names: expected list, got NoneType"),
    "no model": (remove(RUN, "model"), f"is damaged: {RUN}.model.name: expected str"),
    "no config": (put(3, RUN, "config"), f"is damaged: {RUN}.config.model: expected dict"),
    "no images": (put("12", RUN, "images"), f"is damaged: {RUN}.images: expected int, got str"),
    "true images": (put(True, RUN, "images"), f"is damaged: {RUN}.images: expected int, got bool"),
    "no weights": (remove("state_dict"), "is damaged: state_dict: expected dict"),
    "no optimizer": (remove("optimizer_states"), "is damaged: optimizer_states: expected list"),
    "no loops": (put([], "loops"), r"is damaged: loops.fit_loop: expected dict"),
    "numbers for classes": (put([1, 2], RUN, "class_names"), "cannot go on: class_names: expected names, got 1"),
    "other classes": (put(["a", "b"], RUN, "class_names"), "does not fit RefineDet; shapes differ"),
    "renamed classes": (put(list("abcdef"), RUN, "class_names"), "data.classes: expected .'a', 'b'"),
    "unknown model": (put("yolo", RUN, "model", "name"), "cannot go on: name: no model 'yolo'"),
    "unknown option": (put(1, RUN, "model", "options", "depth"), "cannot go on: refinedet192_small has no option"),
    "wide": (put(10**6, RUN, "model", "options", "tcb_channels"), "does not fit RefineDet; shapes differ"),
    "wider": (put(10**9, RUN, "model", "options", "tcb_channels"), "cannot be built: Storage size calculation"),
    "unknown setting": (put(1, RUN, "config", "model", "depth"), "cannot go on: .*unexpected keyword .*'depth'"),
    "a weight less": (remove("state_dict", WEIGHT), "does not fit RefineDet; missing: odm.cls.0.weight"),
    "a weight of text": (put("x", "state_dict", WEIGHT), f"state_dict: expected weights of a model, got '{WEIGHT}'"),
    "no progress": (remove(*LOOP, "epoch_progress"), "loops.fit_loop.epoch_progress: missing"),
    "odd progress": (put(-1, *LOOP, "epoch_progress", "total", "ready"), "epoch_progress.total.ready: expected int"),
    "no batches": (put(None, *LOOP, "epoch_loop.batch_progress"), "batch_progress: expected keys and values, got None"),
}


def test_what_was_changed_by_hand(run: RunConfig, tmp_path: Path) -> None:
    out = Path(str(run.output))
    for name, (change, message) in CHANGES.items():
        path = tmp_path / f"{name}.ckpt"
        content = torch.load(str(run.train.resume), weights_only=True)
        change(content)
        torch.save(content, path)
        before = {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
        again = replace(
            run,
            model=replace(run.model, options={}),  # all of them are the checkpoint's
            train=replace(run.train, resume=str(path)),
            output=str(tmp_path / "again"),
        )
        with pytest.raises(ValueError, match=message):
            train(again)
        assert before == {file: file.stat().st_mtime_ns for file in out.rglob("*") if file.is_file()}
        assert not any((tmp_path / "again").rglob("*.*"))


def test_a_flipped_bit_is_found(run: RunConfig) -> None:
    path = Path(str(run.train.resume))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    torch.load(path, weights_only=True)  # torch says nothing
    with pytest.raises(ValueError, match=r"train.resume: \S+last.ckpt is cut off or damaged: the checksum of"):
        train(run)


def test_archives_that_are_packed_are_refused(tmp_path: Path) -> None:
    """A few bytes can stand for any number of them."""
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**7))
    with pytest.raises(ValueError, match="train.resume: .*bomb.ckpt is not as torch.save writes files"):
        read_checkpoint(str(path))
