"""What is harmless in annotations of other tools is read as it is meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from refinedet.data import COCODetection, VOCDetection
from refinedet.data.text import read_text

from .makers import coco_content, coco_object, make_coco, make_voc, voc_object, voc_xml

CAR = voc_object("car", (1, 1, 20, 30))
GOOD = voc_xml([CAR])
BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>"


@pytest.mark.parametrize(
    ("text", "difficult"),
    [
        ("", False),
        ("<difficult/>", False),
        ("<difficult> 1 </difficult>", True),
        ("<difficult>2</difficult>", True),
        ("<difficult>1.0</difficult>", True),
        ("<difficult>-1</difficult>", False),
        ("<difficult>True</difficult>", True),
        ("<difficult>Unspecified</difficult>", False),
        ("<truncated>Unspecified</truncated><difficult>0</difficult>", False),
        ("<truncated>maybe</truncated>", False),
    ],
)
def test_odd_difficult_and_truncated(tmp_path: Path, text: str, difficult: bool) -> None:
    xml = voc_xml([f"<object><name>car</name>{text}{BOX}</object>"])
    dataset = VOCDetection(make_voc(tmp_path, {"a": xml}), "train", on_error="raise")
    assert dataset[0].difficult.tolist() == [difficult]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "gb18030", "shift_jis", "euc-jp", "big5"]
)
def test_xml_in_any_declared_encoding(tmp_path: Path, encoding: str) -> None:
    root = make_voc(tmp_path, {"a": GOOD})
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + voc_xml([voc_object("車", (1, 1, 20, 30))])
    text = text.replace("utf-16-le", "utf-16").replace("utf-8-sig", "utf-8")  # as a declaration has them
    (root / "Annotations/a.xml").write_bytes(text.encode(encoding))
    assert VOCDetection(root, "train", classes="auto", on_error="raise").class_names == ["車"]


def test_xml_with_an_untrue_or_unknown_declaration(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": GOOD, "b": GOOD, "c": GOOD, "d": GOOD})
    for name, start in (("a", '\n <?xml version="1.0"?>'), ("b", '<?xml version="1.0" encoding="utf-16"?>')):
        (root / f"Annotations/{name}.xml").write_text(start + GOOD)
    (root / "Annotations/c.xml").write_text('<?xml version="1.0" encoding="klingon"?>' + GOOD)
    (root / "Annotations/d.xml").write_bytes(b'<?xml version="1.0" encoding="utf-8"?><annotation>\xff</annotation>')
    dataset = VOCDetection(root, "train")
    assert dataset.image_ids == ["a", "b"] and dataset.report.counts == {"invalid_annotation": 2}


@pytest.mark.parametrize(
    "lines",
    [
        "a  1\nb -1\nc d  0\n",
        "\ufeffa\r\nb\r\nc d\r\n",
        "a.jpg\nJPEGImages/b.jpg\n./c d.JPG\n",
        "JPEGImages\\a.jpg\n.\\JPEGImages\\b\n   c d   \n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lists(tmp_path: Path, lines: str, encoding: str) -> None:
    root = make_voc(tmp_path, {"a": GOOD, "b": GOOD, "c d": GOOD})
    (root / "ImageSets/Main/train.txt").write_bytes(lines.encode(encoding))
    dataset = VOCDetection(root, "train", on_error="raise")
    assert dataset.image_ids == ["a", "b", "c d"]


def test_ids_that_look_like_flags_and_ids_in_folders(tmp_path: Path) -> None:
    for folder in ("JPEGImages/x/y", "Annotations/x/y"):
        (tmp_path / folder).mkdir(parents=True)
    root = make_voc(tmp_path, {"a 1": GOOD, "a": GOOD, "x/y/z": GOOD}, extension=".bmp")
    (root / "ImageSets/Main/windows.txt").write_text("x\\y\\z\nmissing.jpg 1\n")
    assert VOCDetection(root, "train", on_error="raise").image_ids == ["a 1", "a", "x/y/z"]
    dataset = VOCDetection(root, "windows")
    assert dataset.image_ids == ["x/y/z"]
    assert [Path(p.file).name for p in dataset.report] == ["missing.jpg"]


def test_text_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfa\x80")
    with pytest.raises(ValueError, match="a.txt: expected text in UTF-8 or UTF-16"):
        read_text(tmp_path / "a.txt")


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make_voc(tmp_path / "voc", {"a": GOOD})
    make_coco(tmp_path, coco_content(1))
    assert len(VOCDetection("~/voc", "train", extra_parts=[("~/voc", "train")])) == 1
    assert len(COCODetection("~", "~/instances.json")) == 1


@pytest.mark.parametrize(
    ("fields", "area"),
    [
        ({"iscrowd": None}, 81),
        ({"area": -1}, 81),
        ({"area": None}, 81),
        ({"iscrowd": False, "area": 40}, 40),
        ({"category_id": "3", "image_id": "10"}, 81),
        ({"category_id": 3.0, "image_id": 10.0}, 81),
    ],
)
def test_coco_fields(tmp_path: Path, fields: dict[str, Any], area: float) -> None:
    content = coco_content(1)
    content["annotations"] = [{**coco_object(10, 3, [5, 5, 9, 9]), **fields}]
    dataset = COCODetection(*make_coco(tmp_path, content), on_error="raise")
    record = dataset.record(0)
    assert record.labels.tolist() == [1] and record.areas.tolist() == [area] and record.crowd.tolist() == [False]


def test_coco_ids_of_images_and_categories(tmp_path: Path) -> None:
    content = coco_content(2)
    content["images"][0]["id"] = 10.0
    content["images"][1].update(id="20", width="64", height=48.0)
    content["categories"][1]["id"] = "3"
    content["annotations"] = [coco_object(10, 3, [5, 5, 9, 9]), coco_object(20, 3, [5, 5, 9, 9])]
    dataset = COCODetection(*make_coco(tmp_path, content), on_error="raise")
    assert [dataset[i].labels.tolist() for i in (0, 1)] == [[1], [1]] and dataset.image_ids == [10, "20"]
    content["images"][1]["id"] = 10.5
    dataset = COCODetection(*make_coco(tmp_path, content))
    assert dataset.report.counts == {"invalid_annotation": 1, "unknown_image": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_coco_json_encodings(tmp_path: Path, encoding: str) -> None:
    files = make_coco(tmp_path, coco_content(1))
    files[1].write_bytes(files[1].read_bytes().decode().encode(encoding))
    assert len(COCODetection(*files)) == 1


def test_coco_windows_paths(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    content = coco_content(1)
    content["images"][0]["file_name"] = "sub/0.png"
    files = make_coco(tmp_path, content)
    files[1].write_text(json.dumps(content).replace("sub/0.png", r"sub\\0.png"))
    assert Path(COCODetection(*files, on_error="raise")[0].path) == tmp_path / "sub/0.png"


def test_fractions_are_noticed(tmp_path: Path) -> None:
    root = make_voc(tmp_path / "voc", {"a": voc_xml([CAR, voc_object("car", (0.1, 0.2, 0.5, 0.75))])})
    dataset = VOCDetection(root, "train")
    assert dataset.report.counts == {"fractions": 1} and len(dataset[0].labels) == 1
    assert "box (0.1, 0.2, 0.5, 0.75) has fractions of the image where pixels belong" in dataset.report.summary()
    content = coco_content(1)
    content["annotations"] = [coco_object(10, 3, [0.1, 0.1, 0.5, 0.9]), coco_object(10, 3, [0, 0, 1, 1])]
    assert COCODetection(*make_coco(tmp_path, content)).report.counts == {"fractions": 1}


def roboflow(*names: str) -> dict[str, Any]:
    """Categories as Roboflow exports them: a dummy of the project's name first, then the classes."""
    content = coco_content(1)
    content["categories"] = [{"id": 0, "name": names[0], "supercategory": "none"}]
    content["categories"] += [{"id": i, "name": n, "supercategory": names[0]} for i, n in enumerate(names[1:], 1)]
    return content


def test_roboflow_dummy_category_is_no_class(tmp_path: Path) -> None:
    content = roboflow("cells", "RBC", "WBC")
    content["annotations"] = [coco_object(10, 2, [5, 5, 9, 9])]
    dataset = COCODetection(*make_coco(tmp_path, content), on_error="raise")
    assert dataset.class_names == ["RBC", "WBC"] and dataset.category_ids == [1, 2]
    assert dataset[0].labels.tolist() == [2]
    content["annotations"].append(coco_object(10, 0, [5, 5, 9, 9]))  # with an object it is one
    assert COCODetection(*make_coco(tmp_path, content)).class_names == ["cells", "RBC", "WBC"]


def test_roboflow_name_given_twice(tmp_path: Path) -> None:
    content = roboflow("fish", "fish", "crab")
    content["annotations"] = [coco_object(10, 1, [5, 5, 9, 9]), coco_object(10, 2, [5, 5, 9, 9])]
    dataset = COCODetection(*make_coco(tmp_path, content), on_error="raise")
    assert dataset.class_names == ["fish", "crab"] and dataset.category_ids == [1, 2]
    assert dataset[0].labels.tolist() == [1, 2]
    content["annotations"].append(coco_object(10, 0, [5, 5, 9, 9]))  # both ids of one name are one class
    dataset = COCODetection(*make_coco(tmp_path, content), on_error="raise")
    assert dataset.class_names == ["fish", "crab"] and dataset[0].labels.tolist() == [1, 2, 1]


def test_a_file_may_lack_classes_where_allowed(tmp_path: Path) -> None:
    content = coco_content(1)
    content["annotations"] = [coco_object(10, 7, [5, 5, 9, 9])]
    files = make_coco(tmp_path, content)
    dataset = COCODetection(*files, classes=["dragon", "bus"], missing_classes="allow")
    assert dataset.class_names == ["dragon", "bus"] and dataset[0].labels.tolist() == [2]
    assert len(set(dataset.category_ids)) == 2
    with pytest.raises(ValueError, match="missing_classes: expected one of"):
        COCODetection(*files, missing_classes="maybe")  # type: ignore[arg-type]
