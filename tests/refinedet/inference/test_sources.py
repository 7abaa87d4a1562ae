from __future__ import annotations

from pathlib import Path

import pytest

from refinedet.inference.sources import expand, find_sources, stands_for_several


@pytest.fixture
def photos(tmp_path):
    for name in (
        "b.JPG",
        "a.png",
        "._a.png",
        ".hidden.png",
        "notes.txt",
        "clip.mp4",
        "sub/c.gif",
        "sub/.d/e.png",
        "[1].png",
    ):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).touch()
    (tmp_path / "photos/folder.jpg").mkdir()
    (tmp_path / "photos/folder.jpg/f.png").touch()
    return tmp_path / "photos"


def names(sources, folder):
    return [Path(source).relative_to(folder).as_posix() for source in sources]


def test_a_folder_is_its_own_images_and_videos(photos):
    assert names(expand(photos), photos) == ["[1].png", "a.png", "b.JPG", "clip.mp4"]


def test_patterns_go_through_subfolders_where_they_say_so(photos):
    assert names(expand(str(photos / "*.png")), photos) == ["[1].png", "a.png"]
    everything = ["[1].png", "a.png", "b.JPG", "clip.mp4", "folder.jpg/f.png", "sub/c.gif"]
    assert names(expand(str(photos / "**")), photos) == everything
    assert names(expand(str(photos / "[ab].*")), photos) == ["a.png", "b.JPG"]


def test_a_file_that_looks_like_a_pattern_is_a_file(photos):
    assert expand(str(photos / "[1].png")) == [str(photos / "[1].png")]
    assert not stands_for_several(photos / "[1].png")


def test_a_named_file_is_taken_whatever_its_name(photos):
    for name in ("notes.txt", ".hidden.png"):
        assert expand(str(photos / name)) == [str(photos / name)]


def test_what_stands_for_several(photos):
    for name in ("", "*.png", "clip.mp4"):
        assert stands_for_several(f"{photos}/{name}")
    for source in (str(photos / "a.png"), "https://host/a*.png", "missing.png"):
        assert not stands_for_several(source)


def test_sources_of_a_command_are_taken_once(photos, monkeypatch):
    monkeypatch.chdir(photos)
    found = find_sources(["sub", "b.JPG", "./*.JPG", ".", "0", "https://host/x.png", "0"])
    assert found == ["sub/c.gif", "b.JPG", "[1].png", "a.png", "clip.mp4", 0, "https://host/x.png"]
    (photos / "0").touch()
    assert find_sources(["0"]) == ["0"]


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("nothing", FileNotFoundError, "images: no file or folder nothing"),
        ("nothing/*.jpg", FileNotFoundError, "images: no file matches nothing/"),
        ("*.txt", ValueError, "images: no image or video among the 1 files that match"),
        ("empty", ValueError, r"images: no image or video in the folder empty itself; empty/\*\* also"),
        ("ftp://host/a.png", ValueError, "images: expected a path, or an address of http or https, got 'ftp:"),
        ("https://host/a.mp4?x=1", ValueError, "images: videos are read from files alone, download https://host/a.mp4"),
    ],
)
def test_nothing_there_is_said(photos, monkeypatch, source, error, message):
    monkeypatch.chdir(photos)
    (photos / "empty").mkdir()
    with pytest.raises(error, match=message):
        expand(source)


def test_the_home_folder(photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos))
    assert expand("~/a.png") == [str(photos / "a.png")]
