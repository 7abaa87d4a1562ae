from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from refinedet.data.image_io import (
    ImageReadError,
    decode_image,
    read_complete_image,
    read_image,
    read_image_size,
    read_stored_size,
    write_image,
)

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


@pytest.mark.parametrize("extension", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_grey_images_are_scaled_by_the_bits_in_use(tmp_path: Path, extension: str, bits: int) -> None:
    ramp = np.linspace(0, (1 << bits) - 1, 256).round().astype(np.uint16)
    path = tmp_path / f"a{extension}"
    assert cv2.imwrite(str(path), np.tile(ramp, (4, 1)))
    image = read_image(path)
    assert image.shape == (4, 256, 3) and image.dtype == np.uint8
    assert np.abs(image[0, :, 0].astype(int) - np.arange(256)).max() <= 1
    assert read_image_size(path) == (256, 4)


def test_deep_colour_images(tmp_path: Path) -> None:
    image = np.zeros((4, 256, 3), np.uint16)
    image[:, :, 2] = np.arange(256) * 16  # 12 bits
    for extension, highest in ((".tiff", 255), (".ppm", 255), (".png", 15)):  # PNG says that it has 16
        assert cv2.imwrite(str(tmp_path / f"a{extension}"), image)
        assert read_image(tmp_path / f"a{extension}").max(axis=(0, 1)).tolist() == [0, 0, highest]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("low", "high", "first", "last"), [(0, 1, 0, 255), (0.0, 0.5, 0, 128), (-300, 900, 0, 255)])
def test_floats(tmp_path: Path, channels: int, low: float, high: float, first: int, last: int) -> None:
    image = np.tile(np.linspace(low, high, 50, dtype=np.float32)[None, :, None], (4, 1, channels))
    assert cv2.imwrite(str(tmp_path / "a.tiff"), image)
    got = read_image(tmp_path / "a.tiff")
    assert got.shape == (4, 50, 3) and got[0, 0, 0] == first and got[0, -1, 0] == last
    image[0, 0], image[0, 1] = np.nan, np.inf
    assert cv2.imwrite(str(tmp_path / "a.tiff"), image)
    assert read_image(tmp_path / "a.tiff")[0, -1, 0] == last


def test_signed_pixels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-1000, 0, 1000]], np.int32)).save(tmp_path / "a.tiff")
    assert read_image(tmp_path / "a.tiff")[0, :, 0].tolist() == [0, 128, 255]


LAYOUTS = {
    ".png": ("1", "L", "LA", "P", "RGB", "RGBA"),
    ".tiff": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"),
    ".jpg": ("1", "L", "RGB", "CMYK"),
    ".gif": ("1", "L", "LA", "P", "RGB", "RGBA"),
    ".bmp": ("1", "L", "P", "RGB", "RGBA"),
    ".webp": ("L", "P", "RGB", "RGBA"),
    ".jp2": ("L", "LA", "RGB", "RGBA"),
}


@pytest.mark.parametrize(
    ("extension", "mode"), [(extension, mode) for extension in LAYOUTS for mode in LAYOUTS[extension]]
)
def test_every_layout(tmp_path: Path, extension: str, mode: str) -> None:
    path = tmp_path / f"a{extension}"
    Image.new("RGB", (40, 32), (200, 200, 200)).convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (32, 40, 3) and image.dtype == np.uint8
    assert abs(image.mean() - 200) < (60 if mode == "1" else 5) and read_image_size(path) == (40, 32)


def test_the_first_page_counts(tmp_path: Path) -> None:
    pages = [noise(8, 8, seed) for seed in range(3)]
    assert cv2.imwritemulti(str(tmp_path / "pages.tiff"), pages)
    np.testing.assert_array_equal(read_image(tmp_path / "pages.tiff"), pages[0])


def test_too_many_channels_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tiff").write_bytes(b"II*\0")
    monkeypatch.setattr("cv2.imdecode", lambda data, flags: np.zeros((4, 4, 7), np.uint16))
    with pytest.raises(ImageReadError, match="a.tiff: expected 1 to 4 channels, got 7"):
        read_image(tmp_path / "a.tiff")


def save_turned(path: Path, orientation: int, width: int = 40, height: int = 24) -> np.ndarray:
    """A photograph with an EXIF orientation, bright in its stored upper left corner; the pixels as stored."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[: height // 4, : width // 4] = 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read_from_the_header(tmp_path: Path, extension: str, orientation: int) -> None:
    path = tmp_path / f"a{extension}"
    save_turned(path, orientation)
    found = read_stored_size(path)
    turned = read_image(path, apply_orientation=True)
    assert found.size == (40, 24) and found.turned == turned.shape[1::-1]
    if extension != ".webp":  # decoded, which tells no more than whether it is turned
        assert found.orientation == orientation
    assert (found.orientation == 1) == np.array_equal(turned, read_image(path))


def test_orientations_that_make_no_sense(tmp_path: Path) -> None:
    save_turned(tmp_path / "a.jpg", 6)
    data = (tmp_path / "a.jpg").read_bytes()
    start = data.index(b"Exif\0\0")
    for broken in (b"Exif\0\0XX", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"):
        (tmp_path / "a.jpg").write_bytes(data[:start] + broken + data[start + len(broken) :])
        assert read_stored_size(tmp_path / "a.jpg").size == (40, 24)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp"])
def test_an_image_is_written_in_the_format_of_its_name(tmp_path, suffix):
    image = np.full((30, 40, 3), (10, 120, 200), np.uint8)
    path = tmp_path / f"m\u00fcll a{suffix}"
    write_image(path, image)
    np.testing.assert_allclose(read_image(path).astype(int), image, atol=6)
    assert list(tmp_path.iterdir()) == [path]


def test_an_image_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_image(path, np.zeros((3, 4, 3), np.uint8))
    before = path.read_bytes()

    def fail(*args):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_image(path, np.ones((3, 4, 3), np.uint8))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="path: expected the suffix of an image format .*, got .*a.txt"):
        write_image(tmp_path / "a.txt", np.zeros((3, 4, 3), np.uint8))


def test_a_cut_jpeg_in_memory_or_in_a_file_is_refused(tmp_path):
    data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    np.testing.assert_array_equal(decode_image(data, "here"), read_complete_image(path))
    path.write_bytes(data[:-200])
    for read in (lambda: read_complete_image(path), lambda: decode_image(data[:-200], "a.jpg")):
        with pytest.raises(ImageReadError, match="a.jpg: JPEG file is cut off"):
            read()
