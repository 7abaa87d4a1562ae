"""YOLO, CSV and VOC files in plain folders, as tools of labelling export them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import pytest

from refinedet.data import CSVDetection, VOCFolderDetection, YOLODetection
from refinedet.data.dataset import DetectionDataset

from .makers import noise, voc_object, voc_xml

CAR = voc_object("car", (1, 1, 20, 30))


def put_image(path: Path, size: tuple[int, int] = (64, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), noise(*size))
    return path


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(dataset: DetectionDataset) -> list[tuple[str, str, int | None]]:
    return [(p.kind.value, Path(p.file).name, p.object_index) for p in dataset.report]


def make_yolo(root: Path, labels: dict[str, str | None], yaml: str | None) -> Path:
    """Images images/<name>.jpg of 64 x 48 with labels/<name>.txt, None for no label file."""
    for name, text in labels.items():
        put_image(root / "images" / f"{name}.jpg")
        if text is not None:
            put(root / "labels" / f"{name}.txt", text)
    if yaml is not None:
        put(root / "data.yaml", yaml)
    return root


YAML = "train: images/train\nval: images/val\nnames: [car, dog]\n"


def test_yolo_boxes_and_polygons(tmp_path: Path) -> None:
    labels = {
        "train/a": "0 0.5 0.5 0.25 0.5\n1.0 0.1 0.2 0.3 0.2 0.3 0.7 0.2 0.5\n",
        "train/empty": None,
        "val/b": "1 0.5 0.5 1 1\n",
    }
    root = make_yolo(tmp_path, labels, YAML)
    dataset = YOLODetection(root, "train")
    assert dataset.class_names == ["car", "dog"] and dataset.image_ids == ["images/train/a", "images/train/empty"]
    assert dataset[0].boxes.tolist() == [[24, 12, 40, 36], pytest.approx([6.4, 9.6, 19.2, 33.6])]
    assert dataset[0].labels.tolist() == [1, 2] and len(dataset[1].labels) == 0
    assert not dataset.report.problems
    assert YOLODetection(root / "data.yaml", "val")[0].boxes.tolist() == [[0, 0, 64, 48]]
    chosen = YOLODetection(root, "train", classes=["dog"])
    assert chosen[0].labels.tolist() == [1] and problems(chosen) == [("unknown_class", "a.txt", 0)]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("7 0.5 0.5 0.1 0.1", "unknown_class"),
        ("-1 0.5 0.5 0.1 0.1", "unknown_class"),
        ("0.5 0.5 0.5 0.1 0.1", "unknown_class"),
        ("nan 0.5 0.5 0.1 0.1", "unknown_class"),
        ("0 32 24 10 10", "invalid_object"),
        ("0 0.5 0.5 0.1", "invalid_object"),
        ("0 0.5 0.5 0.1 0.1 0.9", "invalid_object"),
        ("car 0.5 0.5 0.1 0.1", "invalid_object"),
        ("0 nan 0.5 0.1 0.1", "non_finite"),
        ("0 0.1 0.2 0.3 nan 0.3 0.7", "non_finite"),
        ("0 0.5 0.5 0 0.1", "no_area"),
        ("0 1.5 0.5 0.1 0.1", "outside_image"),
        ("0 0.95 0.5 0.2 0.1", "partly_outside"),
    ],
)
def test_yolo_broken_lines_are_named(tmp_path: Path, line: str, kind: str) -> None:
    make_yolo(tmp_path, {"train/a": f"0 0.5 0.5 0.5 0.5\n\n{line}\n"}, YAML)
    dataset = YOLODetection(tmp_path)
    assert problems(dataset) == [(kind, "a.txt", 1)]
    assert len(dataset[0].labels) == (2 if kind == "partly_outside" else 1)


def test_yolo_rounding_at_the_border_is_no_problem(tmp_path: Path) -> None:
    dataset = YOLODetection(make_yolo(tmp_path, {"train/a": "0 0.5 0.5 1.000001 1.0001"}, YAML))
    assert dataset[0].boxes.tolist() == [[0, 0, 64, 48]] and not dataset.report.problems


def test_yolo_paths_of_exports(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        put_image(tmp_path / part / "images" / "a.jpg")
        put(tmp_path / part / "labels" / "a.txt", "0 0.5 0.5 0.5 0.5")
    # Roboflow's relative paths are those of another place, and `path` is that of another machine.
    put(
        tmp_path / "data.yaml", "path: ../datasets/x\ntrain: ../train/images\nval: ..\\valid\\images\nnames: {0: car}\n"
    )
    for part, folder in (("train", "train"), ("val", "valid")):
        dataset = YOLODetection(tmp_path, part)
        assert dataset.image_ids == [f"{folder}/images/a"] and len(dataset[0].labels) == 1


def test_yolo_list_files(tmp_path: Path) -> None:
    make_yolo(tmp_path, {"a b": "0 0.5 0.5 0.5 0.5", "c": "1 0.5 0.5 0.5 0.5"}, "train: train.txt\nnames: [car, dog]\n")
    lines = "./images/a b.jpg\nimages\\c.jpg\nimages/gone.jpg\nimages/c.jpg\n"
    (tmp_path / "train.txt").write_bytes(lines.encode("utf-16"))
    dataset = YOLODetection(tmp_path)
    assert dataset.image_ids == ["images/a b", "images/c"] and [len(dataset[i].labels) for i in (0, 1)] == [1, 1]
    assert problems(dataset) == [("missing_image", "gone.jpg", None), ("duplicate_image", "c.jpg", None)]


def test_yolo_without_yaml(tmp_path: Path) -> None:
    root = make_yolo(tmp_path, {"a": "1 0.5 0.5 0.5 0.5"}, None)
    with pytest.raises(ValueError, match=r"classes: expected names, .* has none: write a data.yaml"):
        YOLODetection(root, None)
    assert YOLODetection(root, None, classes=["x", "y"])[0].labels.tolist() == [2]
    put(root / "classes.txt", "car\ndog\n")
    assert YOLODetection(root, None).class_names == ["car", "dog"]
    put_image(root / "beside.png")
    put(root / "beside.txt", "0 0.5 0.5 0.5 0.5")
    assert len(YOLODetection(root, None)) == 2


@pytest.mark.parametrize(
    ("yaml", "error", "message"),
    [
        ("train: nowhere\nnames: [a]\n", FileNotFoundError, "expected 'nowhere' in"),
        ("val: images\nnames: [a]\n", ValueError, "expected a key 'train', it has"),
        ("train: images\nnames: {1: a}\n", ValueError, "names: expected the numbers 0, 1, ..."),
        ("train: images\nnames: 3\n", ValueError, "names: expected a list of names, got '3'"),
        ("train: [[7]]\nnames: [a]\n", ValueError, r"train: expected paths, got \['7'\]"),
        ("- 3\n", ValueError, "expected keys such as train and names, got list"),
        ("a: [", ValueError, "is not YAML"),
    ],
)
def test_yolo_broken_yaml(tmp_path: Path, yaml: str, error: type[Exception], message: str) -> None:
    make_yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5"}, yaml)
    with pytest.raises(error, match=message):
        YOLODetection(tmp_path)


def make_table(root: Path, lines: Sequence[str], images: Sequence[str] = ("a.jpg", "b.jpg")) -> Path:
    for name in images:
        put_image(root / name)
    return put(root / "objects.csv", "\n".join(lines) + "\n")


@pytest.mark.parametrize(
    "lines",
    [
        ["a.jpg,1,2,20,30,car", "a.jpg,5,6,9,9,dog", "b.jpg,,,,,"],
        ["path,x1,y1,x2,y2,class", "a.jpg,1,2,20,30,car", "a.jpg,5,6,9,9,dog", "b.jpg,,,,,"],
        [
            "filename;width;height;class;xmin;ymin;xmax;ymax",
            "a.jpg;64;48;car;1;2;20;30",
            "a.jpg;64;48;dog;5;6;9;9",
            "b.jpg",
        ],
        ["", "a.jpg, 1.0, 2, 20, 30, car", "", r'".\a.jpg", 5, 6, 9, 9, "dog"', "b.jpg"],
    ],
)
def test_csv(tmp_path: Path, lines: list[str]) -> None:
    dataset = CSVDetection(make_table(tmp_path, lines))
    boxes = [box for i in range(len(dataset)) for box in dataset[i].boxes.tolist()]
    assert boxes == [[1, 2, 20, 30], [5, 6, 9, 9]] and dataset.class_names == ["car", "dog"]
    assert Path(dataset[-1].path).name == "b.jpg" and not dataset.report.problems


def test_names_that_begin_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    put_image(tmp_path / "home/b.jpg")
    table = make_table(tmp_path, ["~a.jpg,1,2,20,30,car", "~/b.jpg,1,2,20,30,car"], images=["~a.jpg"])
    assert len(CSVDetection(table, on_error="raise")) == 2


def test_csv_broken_lines_are_named(tmp_path: Path) -> None:
    lines = ["a.jpg,1,2,20,30,car", "gone.jpg,1,2,20,30,car", "a.jpg,1,2,x,30,car", "a.jpg,1,2,20,30,", ",1,2,3,4,car"]
    lines += ["a.jpg,0.1,0.2,0.5,0.75,car", "a.jpg,9,9,9,9,car"]
    dataset = CSVDetection(make_table(tmp_path, lines))
    assert dataset[0].boxes.tolist() == [[1, 2, 20, 30]]
    assert sorted(problems(dataset), key=str) == sorted(
        [
            ("invalid_object", "objects.csv", 2),
            ("invalid_object", "objects.csv", 3),
            ("invalid_object", "objects.csv", 4),
            ("fractions", "objects.csv", 5),
            ("no_area", "objects.csv", 6),
            ("missing_image", "gone.jpg", None),
        ],
        key=str,
    )
    assert "line 3: x2: expected a number, got 'x'" in dataset.report.summary()
    assert "fractions of the image where pixels belong" in dataset.report.summary()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["filename,xmin,ymin,xmax,label", "a.jpg,1,2,3,car"], r"\['y2'\] not found in 'filename,xmin"),
        (["a.jpg 1 2 3 4 car"], "expected columns path, x1"),
        (["path,x,y,w,h,class", "a.jpg,40,30,20,10,car"], r"\['x1', .*\] not found in 'path,x,y,w,h,class'"),
        (["path,x_center,y_center,width,height,class", "a.jpg,40,30,20,10,car"], "'x1'.* not found in"),
        ([""], "is empty"),
        (["a.jpg,,,,,"], "'auto' found no object"),
    ],
)
def test_csv_refuses(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CSVDetection(make_table(tmp_path, lines))


@pytest.mark.parametrize("place", ["{part}/{name}", "{part}/{kind}/{name}", "{kind}/{part}/{name}", "{kind}/{name}"])
def test_voc_folders(tmp_path: Path, place: str) -> None:
    for part in ("train", "valid"):
        name = "same" if "{part}" in place else part
        put_image(tmp_path / (place.format(part=part, kind="pictures", name=name) + ".png"))
        put(tmp_path / (place.format(part=part, kind="notes", name=name) + ".xml"), voc_xml([CAR]))
    put(tmp_path / "._x.xml", "")  # as macOS leaves them
    whole = VOCFolderDetection(tmp_path)
    assert len(whole) == 2 and whole.class_names == ["car"] and not whole.report.problems
    if "{part}" in place:
        val = VOCFolderDetection(tmp_path, "val")
        assert len(val) == 1 and "valid" in val[0].path and val[0].boxes.tolist() == [[1, 1, 20, 30]]


def test_voc_folder_problems(tmp_path: Path) -> None:
    put_image(tmp_path / "a.jpg")
    put_image(tmp_path / "without.jpg")
    put_image(tmp_path / "one/twice.jpg")
    put_image(tmp_path / "two/twice.jpg")
    for name in ("a.xml", "three/a.xml", "gone.xml", "twice.xml"):
        put(tmp_path / name, voc_xml([CAR]))
    dataset = VOCFolderDetection(tmp_path)
    assert dataset.image_ids == ["a"]
    kinds = {(kind, name) for kind, name, _ in problems(dataset)}
    assert kinds == {
        ("duplicate_image", "a.xml"),
        ("missing_image", "gone.xml"),
        ("missing_image", "twice.xml"),
        ("missing_annotation", "without.jpg"),
        ("missing_annotation", "twice.jpg"),
    }
    with pytest.raises(FileNotFoundError, match="expected XML files in a folder 'val'"):
        VOCFolderDetection(tmp_path, "val")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("[yes, 3, 007, 1:30, null, 1.0, ~]", ["yes", "3", "007", "1:30", "null", "1.0", "~"]),
        ("{0: no, 1: 2024-01-01}", ["no", "2024-01-01"]),
        ("[off, on]\nnc: 2", ["off", "on"]),
    ],
)
def test_yolo_names_are_what_stands_there(tmp_path: Path, names: str, expected: list[str]) -> None:
    make_yolo(tmp_path, {"train/a": "0 0.5 0.5 0.5 0.5"}, f"train: images/train\nval: null\ntest:\nnames: {names}\n")
    assert YOLODetection(tmp_path).class_names == expected
    with pytest.raises(ValueError, match="expected a key 'val'"):
        YOLODetection(tmp_path, "val")


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("names: [a, b]\nnc: 3", "data.yaml: nc: expected 2, as there are so many names, got 3"),
        ("names: [a, b]\nnc: many", "nc: expected the number of classes, got 'many'"),
        ("names: [a]\nnames: [b]", "data.yaml is not YAML: .*'names' is given twice.*line 3"),
        ("names: {0: a, 0: b}", "'0' is given twice"),
        ("names: {1: a, 2: b}", "names: expected the numbers 0, 1, ... as keys"),
        ("names: [[a], b]", r"names: expected a list of names, got \['a'\] in it"),
        ("names: " + "[" * 5000, "is not YAML"),
        ("names: !!int nonsense", "data.yaml: invalid literal for int"),
        ("names: [a]\npath: gone/away\ntrain: there", "gone/away .its path, a folder that does not exist. or .*it has"),
    ],
)
def test_yolo_yaml_is_refused_with_its_name(tmp_path: Path, yaml: str, message: str) -> None:
    train = "" if "train:" in yaml else "train: images/train\n"
    make_yolo(tmp_path, {"train/a": "0 0.5 0.5 0.5 0.5"}, train + yaml + "\n")
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){message}"):
        YOLODetection(tmp_path)


def test_yolo_yaml_that_would_fill_the_memory(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 20)]
    make_yolo(tmp_path, {"train/a": None}, "\n".join([*lines, "names: [*a19]", "train: [*a19]"]))
    with pytest.raises(ValueError, match="it has more than 100,000 values, aliases written out"):
        YOLODetection(tmp_path)
