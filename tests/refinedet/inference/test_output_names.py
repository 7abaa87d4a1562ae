from __future__ import annotations

import os

import pytest

from refinedet.inference.output_names import check_outputs, output_names


def test_names_and_formats_are_kept():
    sources = ["a/photo.jpg", "a/B.PNG", "a/scan.tif", "a/clip.avi", 0, "a/b.c.jpeg", "a/plain"]
    assert list(output_names(sources).values()) == [
        *("photo.jpg", "B.PNG", "scan.tif", "clip.mp4", "camera_0.mp4", "b.c.jpeg", "plain.png"),
    ]
    assert output_names([0]) == {"camera 0": "camera_0.mp4"}


@pytest.mark.parametrize("suffix", [".gif", ".jp2", ".hdr", ".exr", ".pgm", ".txt"])
def test_formats_that_do_not_hold_a_drawing_become_png(suffix):
    assert output_names([f"x{suffix}"]) == {f"x{suffix}": "x.png"}


def test_one_name_is_taken_once_whatever_the_format():
    sources = ["a/x.jpg", "b/x.jpg", "c/x.png", "d/x_2.jpg", "e/x.gif"]
    assert list(output_names(sources).values()) == ["x.jpg", "x_2.jpg", "x_3.png", "x_2_2.jpg", "x_4.png"]


def test_many_of_one_name_get_numbers_in_turn():
    names = output_names([f"{i}/x.jpg" for i in range(2000)])
    assert len(set(names.values())) == 2000 and names["1999/x.jpg"] == "x_2000.jpg"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host/p/photo.jpg?w=3", "photo.jpg"),
        ("https://host/", "image.png"),
        ("https://host", "image.png"),
        ("https://host/..%2F..%2Fevil.png", "_.._evil.png"),
        ("https://host/.hidden.png", "hidden.png"),
        ("https://host/a%00b%0Ac.jpg", "a_b_c.jpg"),
        ("https://host/" + "x" * 900 + ".jpg", "x" * 100 + ".jpg"),
        ("https://host/m\u00fcll.webp", "m\u00fcll.webp"),
    ],
)
def test_names_from_addresses_stay_in_the_folder(url, name):
    assert output_names([url]) == {url: name}


def test_an_image_is_never_replaced(tmp_path):
    image = tmp_path / "a.jpg"
    image.write_bytes(b"image")
    out = tmp_path / "out"
    out.mkdir()
    for make in (os.symlink, os.link):
        make(image, out / "a.jpg")
        for overwrite in (False, True):
            with pytest.raises(ValueError, match="output: expected another folder than the images', .*a.jpg is one"):
                check_outputs(out, ["x.json", "a.jpg"], [str(image)], overwrite=overwrite)
        (out / "a.jpg").unlink()


def test_files_are_replaced_only_if_wanted(tmp_path):
    check_outputs(tmp_path / "new", ["a.jpg", "labels/a.txt"], [], overwrite=False)
    (tmp_path / "labels/clip").mkdir(parents=True)
    for name in ("a.jpg", "labels/a.txt", "labels/clip/000000.txt"):
        (tmp_path / name).touch()
    for files in (["a.jpg", "b.jpg"], ["labels/a.txt"], ["labels/clip/"]):
        check_outputs(tmp_path, files, [], overwrite=True)
        with pytest.raises(ValueError, match="output: .* would be replaced; give another --output, or"):
            check_outputs(tmp_path, files, [], overwrite=False)
    check_outputs(tmp_path, ["b.jpg", "labels/b.txt", "labels/other/"], [], overwrite=False)


def test_files_and_folders_are_not_mixed_up(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(ValueError, match="output: expected a folder, got the file .*file"):
        check_outputs(tmp_path / "file", ["a.jpg"], [], overwrite=True)
    with pytest.raises(ValueError, match="output: expected a folder, got the file .*file"):
        check_outputs(tmp_path, ["file/a.txt"], [], overwrite=True)
    with pytest.raises(ValueError, match="output: expected no folder where a file is to be written, got .*a.jpg"):
        check_outputs(tmp_path, ["a.jpg"], [], overwrite=True)
