from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from refinedet.data.image_io import ImageReadError, read_image, read_image_size

from .makers import noise


@pytest.mark.parametrize("extension", [".jpg", ".png", ".bmp", ".webp"])
def test_size_and_pixels(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"ä{extension}"  # not every system's imread opens such a name
    image = np.full((13, 29, 3), (10, 20, 200), np.uint8)
    path.write_bytes(cv2.imencode(extension, image)[1].tobytes())
    assert read_image_size(path) == (29, 13)
    got = read_image(path)
    assert got.shape == (13, 29, 3) and got.dtype == np.uint8
    assert np.abs(got.astype(int) - image).max() <= 12  # BGR; the lossy formats move it a little


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"exif": True}, {"comment": b"x" * 300}])
def test_jpeg_variants(tmp_path: Path, options: dict) -> None:
    if options.pop("exif", False):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    Image.fromarray(noise(40, 24)).save(tmp_path / "a.jpg", **options)
    assert read_image_size(tmp_path / "a.jpg") == (40, 24)


def test_jpeg_segments_before_the_frame(tmp_path: Path) -> None:
    data = cv2.imencode(".jpg", noise(40, 24))[1].tobytes()
    # A segment of Huffman tables, C4, looks like a frame but for its code; fill bytes may come before.
    extra = b"\xff\xff\xff\xc4\x00\x07\x08\x00\x01\x00\x02"
    (tmp_path / "a.jpg").write_bytes(data[:2] + extra + data[2:])
    assert read_image_size(tmp_path / "a.jpg") == (40, 24)


def test_grey_alpha_and_16_bit_become_bgr(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((4, 5), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "alpha.png"), np.full((4, 5, 4), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 5, 3), 7 * 256, np.uint16))
    for name in ("grey", "alpha", "deep"):
        image = read_image(tmp_path / f"{name}.png")
        assert image.dtype == np.uint8 and image.shape == (4, 5, 3), name
        assert (image == 7).all(), name


def test_exif_orientation_only_on_request(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(noise(40, 24)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (24, 40, 3)
    assert read_image(tmp_path / "a.jpg", apply_orientation=True).shape == (40, 24, 3)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_cut_off_files_are_found_from_the_header(tmp_path: Path, extension: str) -> None:
    data = cv2.imencode(extension, noise(64, 48))[1].tobytes()
    path = tmp_path / f"a{extension}"
    for length in (len(data) - 3, len(data) // 2, 22, 10, 3):
        path.write_bytes(data[:length])
        with pytest.raises(ImageReadError, match=f"a{extension}.*(cut off|damaged)"):
            read_image_size(path)
    path.write_bytes(data + b"some bytes that a camera added")
    assert read_image_size(path) == (64, 48)


def test_zero_sizes_in_headers(tmp_path: Path) -> None:
    png = bytearray(cv2.imencode(".png", noise(4, 4))[1].tobytes())
    png[16:20] = bytes(4)
    (tmp_path / "a.png").write_bytes(png)
    with pytest.raises(ImageReadError, match="its size is 0 x 4"):
        read_image_size(tmp_path / "a.png")
    jpeg = cv2.imencode(".jpg", noise(4, 4))[1].tobytes()
    frame = jpeg.index(b"\xff\xc0") + 5
    (tmp_path / "a.jpg").write_bytes(jpeg[:frame] + bytes(2) + jpeg[frame + 2 :])
    with pytest.raises(ImageReadError, match="its size is 4 x 0"):
        read_image_size(tmp_path / "a.jpg")


def test_no_picture(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such image: .*gone.jpg"):
        read_image_size(tmp_path / "gone.jpg")
    with pytest.raises(FileNotFoundError, match="no such image: .*gone.jpg"):
        read_image(tmp_path / "gone.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("this is no image at all, it is text")
    for read in (read_image, read_image_size):
        with pytest.raises(ImageReadError, match="empty.jpg.*the file is empty"):
            read(tmp_path / "empty.jpg")
        with pytest.raises(ImageReadError, match="text.jpg.*not an image"):
            read(tmp_path / "text.jpg")
