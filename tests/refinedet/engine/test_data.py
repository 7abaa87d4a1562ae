"""Which data set a configuration opens: the format found, the parts, the held-out images, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from refinedet.cli import main
from refinedet.data import COCODetection, CSVDetection, VOCDetection, VOCFolderDetection, YOLODetection
from refinedet.engine import DataConfig, RunConfig, SplitConfig
from refinedet.engine.splits import open_split
from refinedet.engine.train import train

from ..data.makers import coco_content, coco_object, make_coco, make_voc, voc_object, voc_xml
from ..data.test_formats import YAML, make_yolo, put, put_image

CAR = voc_object("car", (1, 1, 20, 30))
GOOD = voc_xml([CAR])
LINE = "0 0.5 0.5 0.5 0.5"


def voc(root: Path) -> None:
    for part in ("train", "val", "test"):
        make_voc(root, {f"{part}{i}": GOOD for i in range(2)}, split=part)


def voc_folders(root: Path) -> None:
    for part in ("train", "valid", "test"):
        for i in range(2):
            put_image(root / part / f"{part}{i}.jpg")
            put(root / part / f"{part}{i}.xml", GOOD)


def roboflow(root: Path) -> None:
    for part in ("train", "valid", "test"):
        (root / part).mkdir(parents=True)
        content = coco_content(2)
        for image in content["images"]:
            image["file_name"] = part + image["file_name"]
        content["annotations"] = [coco_object(10, 3, [1, 1, 9, 9])]
        make_coco(root / part, content)[1].rename(root / part / "_annotations.coco.json")


def coco(root: Path) -> None:
    roboflow(root)
    (root / "annotations").mkdir()
    (root / "valid").rename(root / "val")
    for part in ("train", "val", "test"):
        (root / part / "_annotations.coco.json").rename(root / "annotations" / f"instances_{part}2017.json")
        shutil.copy(
            root / "annotations" / f"instances_{part}2017.json", root / "annotations" / f"captions_{part}2017.json"
        )


def yolo(root: Path) -> None:
    labels: dict[str, str | None] = {f"{part}/{part}{i}": LINE for part in ("train", "val", "test") for i in range(2)}
    make_yolo(root, labels, YAML + "test: images/test\n")


def yolo_without_yaml(root: Path) -> None:
    yolo(root)
    (root / "data.yaml").unlink()
    put(root / "classes.txt", "car\n")


def tables(root: Path) -> None:
    for part in ("train", "val", "test"):
        for i in range(2):
            put_image(root / f"{part}{i}.jpg")
        put(root / f"{part}.csv", f"{part}0.jpg,1,1,9,9,car\n{part}1.jpg,1,1,9,9,car\n")


LAYOUTS: list[Any] = [
    (voc, VOCDetection),
    (voc_folders, VOCFolderDetection),
    (roboflow, COCODetection),
    (coco, COCODetection),
    (yolo, YOLODetection),
    (yolo_without_yaml, YOLODetection),
    (tables, CSVDetection),
]


@pytest.mark.parametrize(("make", "kind"), LAYOUTS)
def test_auto_finds_format_and_parts(tmp_path: Path, make: Any, kind: type) -> None:
    make(tmp_path)
    config = DataConfig(root=str(tmp_path))
    for part in ("train", "val", "test"):
        dataset = open_split(config, part)
        assert type(dataset) is kind and len(dataset) == 2 and dataset.holdout is None
        assert all(Path(path).name.startswith(part) for path in dataset.table.paths)
        assert "car" in dataset.class_names and not dataset.report.problems


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize(("make", "kind"), LAYOUTS)
def test_the_format_may_be_named(tmp_path: Path, make: Any, kind: type, part: str) -> None:
    make(tmp_path)
    names = {VOCDetection: "voc", VOCFolderDetection: "voc", COCODetection: "coco", CSVDetection: "csv"}
    config = DataConfig(root=str(tmp_path), format=names.get(kind, "yolo"))  # type: ignore[arg-type]
    assert type(open_split(config, part, ["car"])) is kind


def without_split(root: Path, count: int) -> None:
    make_voc(root, {f"{i}": GOOD for i in range(count)})
    shutil.rmtree(root / "ImageSets")


def test_hold_out_where_there_is_no_split(tmp_path: Path) -> None:
    without_split(tmp_path, 10)
    config = DataConfig(root=str(tmp_path))
    training, val, test = (open_split(config, part) for part in ("train", "val", "test"))
    assert len(training) == 8 and len(val) == 2 and val.image_ids == test.image_ids
    assert not set(training.image_ids) & set(val.image_ids)
    assert training[0].boxes.tolist() == [[1, 1, 20, 30]]
    other = open_split(replace(config, split_seed=1), "val")
    assert len(other) == 2 and other.image_ids != val.image_ids
    assert len(open_split(replace(config, val_fraction=0.5), "val")) == 5
    # What the labels must stand for does not change which images are held out.
    assert open_split(config, "val", ["dog", "car"]).image_ids == val.image_ids
    with pytest.raises(ValueError, match="data.val: expected split, got nothing; data.val_fraction would hold out"):
        open_split(replace(config, val_fraction=None), "val")


def test_a_val_that_may_share_images_with_a_named_train_is_not_taken(tmp_path: Path) -> None:
    make_voc(tmp_path, {f"{i}": GOOD for i in range(8)}, split="trainval")
    make_voc(tmp_path, {f"{i}": GOOD for i in range(4)}, split="train")
    make_voc(tmp_path, {f"{i}": GOOD for i in range(4, 8)}, split="val")
    config = DataConfig(root=str(tmp_path))
    assert open_split(config, "train").image_ids == ["0", "1", "2", "3"]
    config = replace(config, train=SplitConfig(split="trainval"))
    training, val = open_split(config, "train"), open_split(config, "val")
    assert len(training) + len(val) == 8 and not set(training.image_ids) & set(val.image_ids)


def test_a_named_train_of_several_files(tmp_path: Path) -> None:
    for name in ("train_a", "train_b"):
        put(tmp_path / f"{name}.csv", "\n".join(f"{name}{i}.jpg,1,1,9,9,car" for i in range(5)))
        for i in range(5):
            put_image(tmp_path / f"{name}{i}.jpg")
    config = DataConfig(root=str(tmp_path), train=SplitConfig(annotation_file="train_b.csv"))
    assert [len(open_split(config, part)) for part in ("train", "val")] == [4, 1]


def test_val_of_the_usual_name_beside_a_named_train_of_the_usual_name(tmp_path: Path) -> None:
    coco(tmp_path)
    files = SplitConfig(image_dir="train", annotation_file="annotations/instances_train2017.json")
    config = DataConfig(root=str(tmp_path), train=files)
    assert open_split(config, "train").holdout is None and open_split(config, "val").holdout is None
    assert open_split(config, "val").table.paths[0].startswith(str(tmp_path / "val"))


def test_crowds_and_difficult_objects_do_not_move_the_split(tmp_path: Path) -> None:
    content = coco_content(10)
    content["annotations"] = [coco_object(10 * (i + 1), 3, [1, 1, 9, 9], iscrowd=i % 2) for i in range(10)]
    make_coco(tmp_path, content)
    config = DataConfig(root=str(tmp_path))
    training, val = open_split(config, "train"), open_split(config, "val")
    assert sorted(training.image_ids + val.image_ids) == [10 * (i + 1) for i in range(10)]
    assert len(val.table.labels) == len(val) and len(training.table.labels) == 5 - int((~val.table.crowd).sum())


def test_a_run_writes_its_split_down(config: RunConfig, tmp_path: Path) -> None:
    data = replace(config.data, val=SplitConfig(), format="auto", val_fraction=0.25)
    run = replace(config, data=data, train=replace(config.train, epochs=1))
    train(run)
    written = json.loads((tmp_path / "run/split.json").read_text())
    assert written["val_fraction"] == 0.25 and written["split_seed"] == 0
    assert written["val"] == open_split(data, "val").image_ids and len(written["train"]) == 9
    assert "val_fraction: 0.25" in (tmp_path / "run/config.yaml").read_text()


def test_training_without_objects_is_refused(tmp_path: Path) -> None:
    make_voc(tmp_path, {"a": voc_xml(), "b": voc_xml()})
    config = DataConfig(root=str(tmp_path), classes=["car"], val_fraction=None)
    with pytest.raises(ValueError, match="data.train: expected objects of the classes car, got none; .* no objects at"):
        open_split(config, "train")
    with pytest.raises(ValueError, match="'auto' found no object"):
        open_split(replace(config, classes=None), "train")


@pytest.mark.parametrize("part", ["train", "val"])
def test_objects_of_unknown_classes_alone_are_refused_with_their_names(tmp_path: Path, part: str) -> None:
    zebras = voc_xml([voc_object("zebra", (1, 1, 9, 9)), voc_object("Car", (1, 1, 9, 9))])
    make_voc(tmp_path, {"a": zebras, "b": zebras}, split=part)
    config = DataConfig(root=str(tmp_path), classes=["car"], **{part: SplitConfig(split=part)})
    expected = (
        rf"data.{part}: expected objects of the classes car, got none; the annotations have zebra \(2\), Car \(2\)"
    )
    with pytest.raises(ValueError, match=expected):
        open_split(config, part, allow_empty=part == "val")


def test_coco_of_other_classes_is_refused_with_their_names(tmp_path: Path) -> None:
    content = coco_content(2)
    content["annotations"] = [coco_object(10, 7, [1, 1, 9, 9])]
    make_coco(tmp_path, content)
    config = DataConfig(root=str(tmp_path), val=SplitConfig(annotation_file="instances.json"))
    with pytest.raises(ValueError, match=r"data.val: .* classes dragon, got none; the annotations have bus \(1\)"):
        open_split(config, "val", ["dragon"])
    assert open_split(config, "val", ["dragon", "bus"]).table.labels.tolist() == [2]


def test_boxes_in_fractions_alone_are_refused_and_named(tmp_path: Path) -> None:
    xml = voc_xml([voc_object("car", (0.1, 0.1, 0.5, 0.6))])
    make_voc(tmp_path, {"a": xml, "b": xml})
    with pytest.raises(
        ValueError, match="(?s)got none; .*have car \\(2\\).*fractions of the image where pixels belong"
    ):
        open_split(DataConfig(root=str(tmp_path)), "train")


def test_val_without_any_object_is_taken_where_allowed(tmp_path: Path) -> None:
    make_voc(tmp_path, {"a": voc_xml()}, split="val")
    config = DataConfig(root=str(tmp_path), val=SplitConfig(split="val"))
    assert len(open_split(config, "val", ["car"], allow_empty=True)) == 1
    with pytest.raises(ValueError, match="no objects at all"):
        open_split(config, "val", ["car"])


@pytest.mark.parametrize(
    ("files", "arguments", "message"),
    [
        ([], {}, "expected a data set in .* endings nothing"),
        (["a.dat"], {}, r"endings \.dat"),
        (["train/a.csv", "train/b.csv"], {}, "data.train.annotation_file: expected one, .* train/a.csv, train/b.csv"),
        (["a.csv"], {"format": "csv", "root": None}, "data.train: expected annotation_file, got nothing"),
        (
            ["a.csv"],
            {"format": "csv", "train": SplitConfig(split="x")},
            "data.train.split: a CSV table has annotation_file and image_dir instead, got 'x'",
        ),
        (
            ["a.jpg"],
            {"format": "yolo", "train": SplitConfig(image_dir="x")},
            "data.train.image_dir: YOLO has split instead, got 'x'",
        ),
        (
            ["a.xml"],
            {"train": SplitConfig(annotation_file="a.xml"), "format": "voc"},
            "data.train.annotation_file: VOC files in plain folders has split instead",
        ),
        (["a.json"], {"format": "coco", "train": SplitConfig(split="x")}, "data.train.split: COCO has annotation_file"),
        (["a.csv"], {"train": SplitConfig(image_dir="x"), "format": "csv"}, "data.train.annotation_file: expected a f"),
        ([], {"root": None}, "data.root: expected the folder of the data set, got nothing"),
        (
            ["a.csv"],
            {"root": "a.csv", "train": SplitConfig(annotation_file="b")},
            "data.root: expected a folder beside",
        ),
    ],
)
def test_what_cannot_be_found_is_named(tmp_path: Path, files: list[str], arguments: dict, message: str) -> None:
    for name in files:
        put(tmp_path / name, "x")
    if arguments.get("root"):
        arguments = {**arguments, "root": str(tmp_path / arguments["root"])}
    with pytest.raises(ValueError, match=message):
        open_split(DataConfig(**{"root": str(tmp_path), "val_fraction": None, **arguments}), "train")


def test_the_part_that_gave_a_wrong_argument_is_blamed(tmp_path: Path) -> None:
    make_voc(tmp_path, {"a": GOOD}, split="val")
    config = DataConfig(root=str(tmp_path), val=SplitConfig(annotation_file="x.csv"), format="voc")
    for part in ("val", "test"):  # test falls back on val
        with pytest.raises(
            ValueError, match="data.val.annotation_file: VOC's layout has split and extra_parts instead"
        ):
            open_split(config, part)


@pytest.mark.parametrize("name", ["all.csv", "instances.json"])
def test_a_file_may_stand_for_the_root(tmp_path: Path, name: str) -> None:
    content = coco_content(5)
    content["annotations"] = [coco_object(10 * (i + 1), 3, [1, 1, 9, 9]) for i in range(5)]
    make_coco(tmp_path, content)
    put(tmp_path / "all.csv", "".join(f"{i}.png,1,1,9,9,car\n" for i in range(5)))
    config = DataConfig(root=str(tmp_path / name))
    assert [len(open_split(config, part)) for part in ("train", "val")] == [4, 1]


@pytest.mark.parametrize("format", ["auto", "voc", "coco", "yolo", "csv"])
def test_a_missing_root_is_named_whatever_the_format(format: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"^data.root: no such folder: /no/such/place$"):
        open_split(DataConfig(root="/no/such/place", format=format), "train")


def test_images_of_a_coco_file_that_are_nowhere(tmp_path: Path) -> None:
    files = make_coco(tmp_path, coco_content(1))
    (tmp_path / "0.png").unlink()
    config = DataConfig(root=str(tmp_path), train=SplitConfig(annotation_file=files[1].name))
    with pytest.raises(ValueError, match=r"image_dir: expected it for .*instances.json, as \['0.png'\] is in none of"):
        open_split(config, "train")


def test_a_missing_root_is_named_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--train.epochs=1", "--data.root=/no/such/place"]) == 1
    assert "root: no such folder: /no/such/place" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "xml"}, "data.format: expected one of"),
        ({"val_fraction": 1.5}, "data.val_fraction: expected a number from"),
        ({"split_seed": -1}, "data.split_seed: expected an integer"),
    ],
)
def test_refuses_options(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataConfig(**arguments)


def test_from_a_yolo_folder_to_metrics_by_its_root_alone(rendered: Path, tmp_path: Path) -> None:
    content = json.loads((rendered / "annotations/train.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    numbers = {category: number for number, category in enumerate(names)}
    for image in content["images"]:
        lines = []
        for item in (a for a in content["annotations"] if a["image_id"] == image["id"]):
            x, y, w, h = (value / 128 for value in item["bbox"])
            lines.append(f"{numbers[item['category_id']]} {x + w / 2} {y + h / 2} {w} {h}")
        name = Path(image["file_name"])
        put(tmp_path / "labels" / f"{name.stem}.txt", "\n".join(lines))
        (tmp_path / "images").mkdir(exist_ok=True)
        shutil.copy(rendered / "train" / name, tmp_path / "images")
    put(tmp_path / "data.yaml", f"train: images\nnames: {json.dumps(list(names.values()))}\n")
    data = [f"--data.root={tmp_path}", "--data.workers=0", "--data.batch_size=4"]
    model = ["--model.name=refinedet192_small", '--model.options={"input_size": 64, "tcb_channels": 16}']
    length = ["--train.epochs=1", "--train.accelerator=cpu", "--train.devices=1"]
    assert main(["train", *data, *model, *length, f"--output={tmp_path / 'run'}"]) == 0
    held_out = json.loads((tmp_path / "run/split.json").read_text())["val"]
    weights = str(tmp_path / "run/last.safetensors")
    assert main(["eval", f"--weights={weights}", *data, f"--output={tmp_path / 'eval'}"]) == 0
    assert json.loads((tmp_path / "eval/metrics.json").read_text())["images"] == len(held_out) == 2


@pytest.mark.parametrize("held_out", [True, False])
def test_a_training_says_once_what_it_trains_on_and_what_is_wrong_with_it(
    config: RunConfig,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    held_out: bool,
) -> None:
    data = tmp_path / "data"
    shutil.copytree(Path(str(config.data.root)), data)
    file = data / "annotations/train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"] = [5, 5, 0, 9]
    file.write_text(json.dumps(content))
    changes: dict[str, Any] = {"val": SplitConfig(), "val_fraction": 0.25} if held_out else {}
    settings = replace(config.data, root=str(data), **changes)
    train(replace(config, data=settings, train=replace(config.train, epochs=1)))
    said = capfd.readouterr()
    assert (said.out + said.err + caplog.text).count("has no area") == 1
    lines = said.out.splitlines()
    assert lines[0].split() == ["train", "val"]
    assert lines[1].split() == (["images", "9", "3"] if held_out else ["images", "12", "4"])
    assert sum("disc" in line for line in lines[:12]) == 1


def test_images_held_out_of_a_coco_file_lie_in_the_folder_of_the_training_part(rendered):
    config = DataConfig(root=str(rendered), val_fraction=0.25)
    train_set, val_set = (open_split(config, part) for part in ("train", "val"))
    assert (len(train_set), len(val_set)) == (9, 3)
    assert {Path(val_set[0].path).parent, Path(train_set[0].path).parent} == {rendered / "train"}
