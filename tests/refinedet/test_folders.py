from __future__ import annotations

import os

import pytest

from refinedet.folders import check_file, check_folder, free_folder, make_folder


def test_a_folder_may_be_there_or_made(tmp_path):
    assert check_folder(tmp_path) == tmp_path
    assert check_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b" and not (tmp_path / "a").exists()
    assert make_folder(tmp_path / "a" / "b").is_dir() and make_folder(tmp_path / "a" / "b").is_dir()


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "a" / "b"):
        with pytest.raises(NotADirectoryError, match=f"output: expected a folder, {file} is none"):
            check_folder(folder)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="link is none"):
        check_folder(tmp_path / "link" / "a")


def test_what_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as a user who is not root sees a folder of others
    with pytest.raises(PermissionError, match=f"output: {tmp_path} is not writable, so that {tmp_path}/a cannot be"):
        check_folder(tmp_path / "a")
    with pytest.raises(PermissionError, match=f"weights: {tmp_path} is not writable, so that {tmp_path}/a.pt cannot"):
        check_file(tmp_path / "a.pt", "weights")


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(OSError, match=f"output: {tmp_path}/a cannot be made: No space left on device"):
        make_folder(tmp_path / "a")


def test_a_file_wants_its_folder(tmp_path):
    assert check_file(tmp_path / "model.onnx") == tmp_path / "model.onnx"
    with pytest.raises(FileNotFoundError, match=f"output: there is no folder {tmp_path}/no to write model.onnx into"):
        check_file(tmp_path / "no" / "model.onnx")
    with pytest.raises(IsADirectoryError, match=f"output: expected a file, {tmp_path} is a folder"):
        check_file(tmp_path)


def test_the_first_folder_with_nothing_in_it_is_free(tmp_path):
    usual = tmp_path / "run"
    assert free_folder(usual) == usual
    usual.mkdir()
    assert free_folder(usual) == usual
    (usual / "x").touch()
    (tmp_path / "run-2").touch()  # a file
    assert free_folder(usual) == tmp_path / "run-3"
