"""Files that are made to harm: they are refused by name, before they can take time, memory or other files."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from refinedet.data import (
    AnnotationError,
    COCODetection,
    CSVDetection,
    ImageReadError,
    VOCDetection,
    VOCFolderDetection,
    YOLODetection,
    read_image,
    read_image_size,
)
from refinedet.data.dataset import DetectionDataset
from refinedet.data.image_files import inside
from refinedet.data.image_header import claimed_size

from .makers import coco_content, coco_object, make_coco, make_voc, noise, voc_object, voc_xml
from .test_formats import YAML, make_table, make_yolo, put, put_image

CAR = voc_xml([voc_object("car", (1, 1, 20, 30))])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_within_entities(tmp_path: Path, encoding: str) -> None:
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    put_image(tmp_path / "a.jpg")
    put_image(tmp_path / "b.jpg")
    put(tmp_path / "b.xml", CAR)
    text = f'<!DOCTYPE x [<!ENTITY a0 "ha">{entities}]>' + CAR.replace("car", "&a9;")
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    dataset = VOCFolderDetection(tmp_path)
    assert dataset.image_ids == ["b"]
    assert [p.detail for p in dataset.report] == ["cannot be parsed as XML: it declares entities"]


def test_deep_xml(tmp_path: Path) -> None:
    make_voc(tmp_path, {"a": CAR, "b": "<annotation>" + "<object>" * 100_000})
    assert [p.kind.value for p in VOCDetection(tmp_path, "train", classes="auto").report] == ["invalid_annotation"]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"images":' * 100_000, '{"images": [' + "1" * 5000 + "]}"])
def test_deep_json_and_endless_numbers(tmp_path: Path, text: str) -> None:
    path = put(tmp_path / "a.json", text)
    with pytest.raises(ValueError, match=r"annotation_file: \S+a.json is no"):
        COCODetection(tmp_path, path)


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    data = bytearray(cv2.imencode(".jpg", noise(16, 16))[1].tobytes())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def bmp(width: int, height: int) -> bytes:
    data = bytearray(cv2.imencode(".bmp", noise(16, 16))[1].tobytes())
    data[18:26] = struct.pack("<ii", width, -height)
    return bytes(data)


def tiff(width: int, height: int) -> bytes:
    data = cv2.imencode(".tiff", noise(16, 16))[1].tobytes()
    for tag, value in ((256, width), (257, height)):
        found = data.index(struct.pack("<HHI", tag, 3, 1))
        data = data[:found] + struct.pack("<HHII", tag, 4, 1, value) + data[found + 12 :]
    return data


def pgm(width: int, height: int) -> bytes:
    return b"P5\n# a comment\n%d %d\n255\n\0" % (width, height)


LARGE: list[tuple[str, Callable[[int, int], bytes]]] = [
    ("png", png),
    ("jpg", jpeg),
    ("bmp", bmp),
    ("tiff", tiff),
    ("pgm", pgm),
]


@pytest.mark.parametrize(("kind", "make"), LARGE)
def test_images_that_claim_a_thousand_million_pixels(
    tmp_path: Path, kind: str, make: Callable[[int, int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(make(32_000, 32_000))
    message = rf"a\.{kind}: 32000 x 32000 pixels are more than the limit of 268,435,456 \(REFINEDET_MAX_PIXELS sets"
    for read in (read_image, read_image_size):
        with pytest.raises(ImageReadError, match=message):
            read(path)
    monkeypatch.setenv("REFINEDET_MAX_PIXELS", "2000000000")
    assert read_image_size(path) == (32_000, 32_000) if kind in ("png", "jpg") else True
    monkeypatch.setenv("REFINEDET_MAX_PIXELS", "100")
    pixels = noise(11, 10)
    path.write_bytes(cv2.imencode(f".{kind}", pixels[:, :, 0] if kind == "pgm" else pixels)[1].tobytes())
    with pytest.raises(ImageReadError, match="11 x 10 pixels are more than the limit of 100"):
        read_image(path)
    monkeypatch.setenv("REFINEDET_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="REFINEDET_MAX_PIXELS: expected a number of pixels, got 'many'"):
        read_image(path)


KINDS = ["jpg", "png", "bmp", "gif", "webp", "tiff", "ppm", "pgm", "pbm", "pam", "jp2", "avif", "ras", "hdr"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_claimed_size_is_that_of_the_pixels(kind: str) -> None:
    pixels: np.ndarray = noise(37, 23)
    if kind == "hdr":
        pixels = pixels.astype(np.float32) / 255
    elif kind in ("pgm", "pbm", "pam"):
        pixels = pixels[:, :, 0]
    try:
        made, data = cv2.imencode(f".{kind}", pixels)
    except cv2.error:
        made = False
    if not made:
        pytest.skip(f"this OpenCV writes no {kind}")
    assert claimed_size(data.tobytes()) == (37, 23)
    for end in range(0, min(len(data), 64), 3):
        claimed_size(data.tobytes()[:end])


@pytest.mark.parametrize("options", [{"losslessly": True}, {"losslessly": False}])
def test_the_claimed_size_of_webp(options: dict[str, bool]) -> None:
    quality = 101 if options["losslessly"] else 80
    data = cv2.imencode(".webp", noise(37, 23), [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    assert claimed_size(data) == (37, 23)


def test_no_image_has_no_size() -> None:
    for data in (
        b"",
        b"hello",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"BM",
        b"RIFF0000WEBPVP8 ",
        b"II*\0\xff\xff\xff\xff",
        b"P6 ",
    ):
        assert claimed_size(data) is None


HOSTILE = ["../../../etc/passwd", "/etc/passwd", "a/../../x.jpg", "..", "a\0.jpg", "~/x.jpg", "x" * 300]


def kinds(dataset: DetectionDataset) -> list[str]:
    return [problem.kind.value for problem in dataset.report]


@pytest.mark.parametrize("name", [*HOSTILE, "\ud800.jpg"])
def test_coco_file_names_that_lead_out(tmp_path: Path, name: str) -> None:
    content = coco_content(2)
    content["annotations"] = [coco_object(10, 3, [1, 1, 9, 9])]
    files = make_coco(tmp_path, content)
    content["images"].append({"id": 5, "file_name": name, "width": 64, "height": 48})
    files[1].write_text(json.dumps(content))
    dataset = COCODetection(*files)
    assert dataset.image_ids == [10, 20] and kinds(dataset) == ["outside_folder"]
    assert repr(name)[:80] in dataset.report.problems[0].detail
    with pytest.raises(AnnotationError, match="outside_folder"):
        COCODetection(*files, on_error="raise")


@pytest.mark.parametrize("name", HOSTILE)
def test_csv_and_list_file_names_that_lead_out(tmp_path: Path, name: str) -> None:
    dataset = CSVDetection(make_table(tmp_path / "csv", ["a.jpg,1,2,20,30,car", f"{name},1,2,3,4,car", f"{name},,,,,"]))
    assert dataset.image_ids == ["a.jpg"] and kinds(dataset) == ["outside_folder"]
    make_yolo(tmp_path / "yolo", {"a": "0 0.5 0.5 0.5 0.5"}, "train: list.txt\nnames: [car]\n")
    put(tmp_path / "yolo/list.txt", f"images/a.jpg\n{name}\n")
    yolo = YOLODetection(tmp_path / "yolo")
    assert yolo.image_ids == ["images/a"] and kinds(yolo) == ["outside_folder"]
    make_voc(tmp_path / "voc", {"a": CAR})
    with open(tmp_path / "voc/ImageSets/Main/train.txt", "a") as file:
        file.write(f"{name}\n")
    voc = VOCDetection(tmp_path / "voc", "train", classes="auto")
    assert voc.image_ids == ["a"] and kinds(voc) == ["missing_image"]


def test_absolute_names_within_the_folder_are_fine(tmp_path: Path) -> None:
    image = put_image(tmp_path / "images/a.jpg")
    table = put(tmp_path / "a.csv", f"{image},1,1,9,9,car\n{tmp_path}/images/../images/a.jpg,1,1,9,9,car\n")
    assert len(CSVDetection(table)) == 2
    put(tmp_path / "list.txt", f"{image}\n")
    put(tmp_path / "labels/a.txt", "0 0.5 0.5 0.5 0.5")
    elsewhere = put(tmp_path / "elsewhere/data.yaml", f"path: {tmp_path}\ntrain: list.txt\nnames: [car]\n")
    assert len(YOLODetection(elsewhere)[0].labels) == 1


def test_inside(tmp_path: Path) -> None:
    assert inside("a/b.jpg", tmp_path) == tmp_path / "a/b.jpg"
    assert inside("a/../b.jpg", tmp_path) == tmp_path / "a/../b.jpg"
    assert inside("..b.jpg", tmp_path) == tmp_path / "..b.jpg"
    assert inside(str(tmp_path / "b/c.jpg"), tmp_path / "a", tmp_path / "b") == tmp_path / "b/c.jpg"
    with pytest.raises(ValueError, match="leads out of"):
        inside(f"../{tmp_path.name}x/a.jpg", tmp_path)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"images": {"id": "a\ud800"}}, "invalid_annotation"),
        ({"images": {"id": 10**30}}, "invalid_annotation"),
        ({"images": {"width": 10**30}}, "missing_size"),
        ({"images": {"width": float("inf")}}, "missing_size"),
        ({"annotations": {"bbox": [1, 1, 10**400, 5]}}, "invalid_object"),
        ({"annotations": {"area": 10**400}}, "invalid_object"),
        ({"annotations": {"bbox": [1e308, 1, 1e308, 5]}}, "non_finite"),
        ({"annotations": {"category_id": 10**30}}, "unknown_class"),
        ({"annotations": {"image_id": float("nan")}}, "unknown_image"),
        ({"annotations": {"image_id": [[]]}}, "unknown_image"),
    ],
)
def test_coco_values_beyond_reason(tmp_path: Path, change: dict[str, dict[str, Any]], kind: str) -> None:
    content = coco_content(2)
    content["annotations"] = [coco_object(20, 3, [1, 1, 9, 9]), coco_object(20, 3, [1, 1, 9, 9])]
    files = make_coco(tmp_path, content)
    for key, values in change.items():
        content[key][0].update(values)
    files[1].write_text(json.dumps(content))
    dataset = COCODetection(*files)
    assert kinds(dataset) == [kind]
    assert len(dataset.table.labels) == (1 if "annotations" in change else 2)


def test_half_characters_in_class_names(tmp_path: Path) -> None:
    content = coco_content(1)
    content["categories"][0]["name"] = "\ud800"
    with pytest.raises(ValueError, match="classes: expected names, got half a character in '.ud800'"):
        COCODetection(*make_coco(tmp_path, content))


def test_yolo_is_no_way_to_python(tmp_path: Path) -> None:
    evil = f"names: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n"
    make_yolo(tmp_path, {"train/a": None}, YAML.split("names")[0] + evil)
    with pytest.raises(ValueError, match="data.yaml is not YAML"):
        YOLODetection(tmp_path)
    assert not (tmp_path / "made").exists()
