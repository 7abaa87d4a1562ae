from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refinedet.data.image_io import read_image
from refinedet.data.voc import VOC_CLASSES, VOCDetection, discover_voc_classes

from .makers import make_voc, voc_object, voc_xml

CAR = voc_object("car", (1, 1, 20, 30))
GOOD = voc_xml([CAR])


def problems(dataset: VOCDetection) -> list[tuple[str, str, int | None]]:
    return [(p.kind.value, Path(p.file).name, p.object_index) for p in dataset.report]


def test_reads_pictures_in_the_order_of_the_split(tmp_path: Path) -> None:
    xml = voc_xml([voc_object("person", (3, 4, 20.5, 30)), voc_object("car", (10, 11, 64, 48), difficult=1)])
    root = make_voc(tmp_path, {"b": xml, "a": voc_xml()})
    dataset = VOCDetection(root, "train")
    assert dataset.class_names == list(VOC_CLASSES) and len(VOC_CLASSES) == 20
    assert dataset.category_ids == list(range(1, 21))
    assert len(dataset) == 2 and dataset.image_ids == ["b", "a"]
    assert not dataset.report.problems
    assert (dataset.report.images, dataset.report.objects) == (2, 2)

    sample = dataset[0]
    sample.check()
    np.testing.assert_array_equal(sample.image, read_image(root / "JPEGImages/b.jpg"))
    assert sample.boxes.tolist() == [[3, 4, 20.5, 30], [10, 11, 64, 48]]
    assert [dataset.class_names[label - 1] for label in sample.labels] == ["person", "car"]
    assert sample.difficult.tolist() == [False, True] and sample.crowd.tolist() == [False, False]
    assert sample.image_id == "b" and sample.original_size == (64, 48)
    assert sample.path == str(root / "JPEGImages/b.jpg")

    without = dataset[-1]
    without.check()
    assert without.image_id == "a" and without.boxes.shape == (0, 4)


def test_index_errors_and_iteration(tmp_path: Path) -> None:
    dataset = VOCDetection(make_voc(tmp_path, {"a": GOOD, "b": GOOD}), "train")
    for index in (2, -3):
        with pytest.raises(IndexError, match=f"index: expected -2 to 1, got {index}"):
            dataset[index]
    assert [dataset[i].image_id for i in range(len(dataset))] == ["a", "b"]


@pytest.mark.parametrize("extension", [".jpeg", ".png", ".JPG"])
def test_picture_extensions(tmp_path: Path, extension: str) -> None:
    dataset = VOCDetection(make_voc(tmp_path, {"a.b": GOOD}, extension=extension), "train")
    assert dataset[0].path.endswith(f"a.b{extension}")


def test_jpg_goes_before_png(tmp_path: Path) -> None:
    make_voc(tmp_path, {"a": GOOD}, extension=".png")
    dataset = VOCDetection(make_voc(tmp_path, {"a": GOOD}), "train")
    assert dataset[0].path.endswith("a.jpg")


@pytest.mark.parametrize(
    ("coordinates", "want"),
    [("as_given", [10, 20, 30, 40]), ("zero_based", [9, 19, 29, 39]), ("pixel_edges", [9, 19, 30, 40])],
)
def test_coordinates(tmp_path: Path, coordinates: str, want: list[float]) -> None:
    objects = [voc_object("car", (10, 20, 30, 40)), voc_object("car", (9, 9, 9, 9))]
    root = make_voc(tmp_path, {"a": voc_xml(objects)})
    dataset = VOCDetection(root, "train", coordinates=coordinates)  # type: ignore[arg-type]
    assert dataset[0].boxes.tolist() == [want]
    assert problems(dataset) == [("no_area", "a.xml", 1)]  # whatever the option


def test_difficult_objects(tmp_path: Path) -> None:
    xml = voc_xml([voc_object("car", (1, 1, 9, 9), difficult=1), CAR])
    root = make_voc(tmp_path, {"a": xml})
    assert VOCDetection(root, "train")[0].difficult.tolist() == [True, False]
    dataset = VOCDetection(root, "train", use_difficult=False, on_error="raise")
    assert dataset[0].boxes.tolist() == [[1, 1, 20, 30]]
    assert dataset.report.excluded == {"difficult": 1} and not dataset.report.problems


def test_classes(tmp_path: Path) -> None:
    xml = voc_xml([voc_object("zebra", (1, 1, 9, 9)), CAR, voc_object("tree", (2, 2, 9, 9))])
    root = make_voc(tmp_path, {"a": xml, "b": voc_xml([CAR])})
    auto = VOCDetection(root, "train", classes="auto")
    assert auto.class_names == ["car", "tree", "zebra"] and auto[0].labels.tolist() == [3, 1, 2]
    assert discover_voc_classes(root, "train") == {"car": 2, "tree": 1, "zebra": 1}

    named = VOCDetection(root, "train", classes=["zebra", "car"])
    assert named[0].labels.tolist() == [1, 2]
    assert problems(named) == [("unknown_class", "a.xml", 2)]
    assert "class 'tree' is not among the 2 classes" in named.report.summary()

    left_out = VOCDetection(root, "train", classes=["zebra", "car"], ignore_classes=["tree"], on_error="raise")
    assert left_out.report.excluded == {"class": 1}
    assert VOCDetection(root, "train", classes="auto", ignore_classes=["car"]).class_names == ["tree", "zebra"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classes": []}, ValueError, "classes: expected at least one name"),
        ({"classes": ["a", "b", "a"]}, ValueError, "classes: expected distinct names, got 'a' twice"),
        ({"classes": "car"}, TypeError, "classes: expected a list of names, got the string 'car'"),
        ({"classes": ["a", 3]}, TypeError, "classes: expected names, got 3"),
        ({"classes": ["car"], "ignore_classes": ["car"]}, ValueError, "ignore_classes: 'car' is also among"),
        ({"coordinates": "one"}, ValueError, "coordinates: expected one of .* got 'one'"),
        ({"on_error": "ignore"}, ValueError, "on_error: expected 'skip' or 'raise', got 'ignore'"),
        ({"check_images": "all"}, ValueError, "check_images: expected 'header' or 'exists', got 'all'"),
    ],
)
def test_refuses_options(tmp_path: Path, options: dict, error: type[Exception], message: str) -> None:
    make_voc(tmp_path, {"a": GOOD})
    with pytest.raises(error, match=message):
        VOCDetection(tmp_path, "train", **options)


def test_auto_classes_need_an_object(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'auto' found no object"):
        VOCDetection(make_voc(tmp_path, {"a": voc_xml()}), "train", classes="auto")


def test_parts_are_concatenated(tmp_path: Path) -> None:
    first = make_voc(tmp_path / "2007", {"000001": GOOD, "000002": GOOD})
    make_voc(tmp_path / "2007", {"000003": GOOD}, split="val")
    second = make_voc(tmp_path / "2012", {"2012_1": GOOD, "000002": GOOD})
    dataset = VOCDetection(first, "train", extra_parts=[(first, "val"), (second, "train")])
    # The id that both years have is still two images, and two ids.
    assert dataset.image_ids == ["000001", "000002", "000003", "2012_1", "2:000002"]
    assert not dataset.report.problems
    assert Path(dataset[4].path) == second / "JPEGImages/000002.jpg"


def test_the_same_picture_listed_twice(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": GOOD, "b": GOOD})
    make_voc(tmp_path, {"b": GOOD}, split="val")
    dataset = VOCDetection(root, "train", extra_parts=[(root, "val")])
    assert dataset.image_ids == ["a", "b"]
    assert problems(dataset) == [("duplicate_image", "val.txt", None)]
    assert "image b is listed twice" in dataset.report.summary()


def test_layout_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="root: expected folders .* no JPEGImages there"):
        VOCDetection(tmp_path, "train")
    root = make_voc(tmp_path, {"a": GOOD})
    with pytest.raises(FileNotFoundError, match=r"split: no 'test' in .*, it has \['train'\]"):
        VOCDetection(root, "test")
    (root / "ImageSets/Main/empty.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="split: .*empty.txt lists no images"):
        VOCDetection(root, "empty")


def test_cache_keeps_read_only_pictures(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": GOOD, "b": GOOD})
    plain = VOCDetection(root, "train")
    assert not plain.caches_images and plain.preload() == 0
    assert plain[0].image is not plain[0].image
    cached = VOCDetection(root, "train", cache_images=True)
    assert cached.caches_images
    first = cached[0].image
    assert cached[0].image is first
    np.testing.assert_array_equal(first, plain[0].image)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0, 0] = 1
    assert cached.preload() == 2 * 64 * 48 * 3
    (root / "JPEGImages/b.jpg").unlink()
    assert cached[1].image.shape == (48, 64, 3)


def test_samples_do_not_share_annotations(tmp_path: Path) -> None:
    dataset = VOCDetection(make_voc(tmp_path, {"a": GOOD}), "train")
    sample = dataset[0]
    sample.boxes += 100
    sample.labels += 1
    assert dataset[0].boxes.tolist() == [[1, 1, 20, 30]]
    assert dataset[0].labels.tolist() == [VOC_CLASSES.index("car") + 1]
    record = dataset.record(-1)
    record.boxes[:] = 0
    assert dataset.record(0).boxes.tolist() == [[1, 1, 20, 30]]
    assert record.areas.tolist() == [19 * 29]
