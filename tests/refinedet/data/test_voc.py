from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from refinedet.data.image_io import ImageReadError, read_image
from refinedet.data.report import AnnotationError, ProblemKind
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
    # The id that both years have is still two pictures, and two ids.
    assert dataset.image_ids == ["000001", "000002", "000003", "2012_1", "2:000002"]
    assert not dataset.report.problems
    assert Path(dataset[4].path) == second / "JPEGImages/000002.jpg"


def test_the_same_picture_listed_twice(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": GOOD, "b": GOOD})
    make_voc(tmp_path, {"b": GOOD}, split="val")
    dataset = VOCDetection(root, "train", extra_parts=[(root, "val")])
    assert dataset.image_ids == ["a", "b"]
    assert problems(dataset) == [("duplicate_image", "val.txt", None)]
    assert "picture b is listed twice" in dataset.report.summary()


def test_layout_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="root: expected folders .* no JPEGImages there"):
        VOCDetection(tmp_path, "train")
    root = make_voc(tmp_path, {"a": GOOD})
    with pytest.raises(FileNotFoundError, match=r"split: no 'test' in .*, it has \['train'\]"):
        VOCDetection(root, "test")
    (root / "ImageSets/Main/car_train.txt").write_text("a  1\nb -1\n")
    with pytest.raises(ValueError, match="car_train.txt, line 1: expected one picture id, got 'a  1'"):
        VOCDetection(root, "car_train")
    (root / "ImageSets/Main/empty.txt").write_text("\n\n")
    with pytest.raises(ValueError, match="split: .*empty.txt lists no pictures"):
        VOCDetection(root, "empty")


BROKEN_OBJECTS = [
    ("no_area", voc_object("car", (5, 5, 5, 9))),
    ("no_area", voc_object("car", (9, 5, 4, 9))),
    ("outside_image", voc_object("car", (70, 5, 90, 9))),
    ("non_finite", voc_object("car", ("nan", 5, 9, 9))),
    ("non_finite", voc_object("car", (1, 5, "inf", 9))),
    ("unknown_class", voc_object("unicorn", (1, 1, 9, 9))),
    ("invalid_object", voc_object("", (1, 1, 9, 9))),
    ("invalid_object", voc_object("car", ("left", 1, 9, 9))),
    ("invalid_object", voc_object("car", (1, 1, 9, 9), difficult="maybe")),
    ("invalid_object", "<object><name>car</name></object>"),
]


@pytest.mark.parametrize(("kind", "broken"), BROKEN_OBJECTS)
def test_broken_objects_are_skipped_and_named(tmp_path: Path, kind: str, broken: str) -> None:
    root = make_voc(tmp_path, {"good": GOOD, "bad": voc_xml([CAR, broken, CAR])})
    dataset = VOCDetection(root, "train")
    assert len(dataset) == 2 and dataset[1].boxes.tolist() == [[1, 1, 20, 30]] * 2
    assert problems(dataset) == [(kind, "bad.xml", 1)]
    assert dataset.report.counts == {kind: 1}
    with pytest.raises(AnnotationError, match="(?s)refused.*bad.xml, object 1: ") as caught:
        VOCDetection(root, "train", on_error="raise")
    assert caught.value.report.counts == {kind: 1}


def test_a_box_partly_outside_is_clipped_and_counted(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": voc_xml([CAR, voc_object("car", (-3, 10, 70, 60))])})
    dataset = VOCDetection(root, "train")
    assert dataset[0].boxes.tolist() == [[1, 1, 20, 30], [0, 10, 64, 48]]
    assert problems(dataset) == [("partly_outside", "a.xml", 1)]
    assert "(-3, 10, 70, 60) lies partly outside" in dataset.report.summary()
    with pytest.raises(AnnotationError):
        VOCDetection(root, "train", on_error="raise")


def break_picture(root: Path, how: str) -> None:
    picture, annotation = root / "JPEGImages/bad.jpg", root / "Annotations/bad.xml"
    if how == "missing_image":
        picture.unlink()
    elif how == "empty":
        picture.write_bytes(b"")
    elif how == "text":
        picture.write_text("no picture, though long enough to hold a header")
    elif how == "cut off":
        picture.write_bytes(picture.read_bytes()[:-40])
    elif how == "missing_annotation":
        annotation.unlink()
    elif how == "invalid_annotation":
        annotation.write_text("<annotation><object>")
    elif how == "not text":
        annotation.write_bytes(b"\xff\xfe\x00\x01 binary")
    elif how == "size_mismatch":
        annotation.write_text(voc_xml([CAR], size=(48, 64)))


@pytest.mark.parametrize(
    ("how", "kind", "file"),
    [
        ("missing_image", "missing_image", "bad.jpg"),
        ("empty", "unreadable_image", "bad.jpg"),
        ("text", "unreadable_image", "bad.jpg"),
        ("cut off", "unreadable_image", "bad.jpg"),
        ("missing_annotation", "missing_annotation", "bad.xml"),
        ("invalid_annotation", "invalid_annotation", "bad.xml"),
        ("not text", "invalid_annotation", "bad.xml"),
        ("size_mismatch", "size_mismatch", "bad.xml"),
    ],
)
def test_broken_pictures_are_skipped_and_named(tmp_path: Path, how: str, kind: str, file: str) -> None:
    root = make_voc(tmp_path, {"a": GOOD, "bad": GOOD, "z": GOOD})
    break_picture(root, how)
    dataset = VOCDetection(root, "train")
    assert dataset.image_ids == ["a", "z"]
    assert [dataset[i].image_id for i in range(2)] == ["a", "z"]
    assert problems(dataset) == [(kind, file, None)]
    with pytest.raises(AnnotationError, match=file):
        VOCDetection(root, "train", on_error="raise")


def test_every_problem_is_listed_before_refusing(tmp_path: Path) -> None:
    bad = voc_xml([BROKEN_OBJECTS[0][1], BROKEN_OBJECTS[5][1]])
    root = make_voc(tmp_path, {"a": bad, "b": bad})
    with pytest.raises(AnnotationError) as caught:
        VOCDetection(root, "train", on_error="raise")
    assert caught.value.report.counts == {"unknown_class": 2, "no_area": 2}


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": None, "b": None})
    with pytest.raises(AnnotationError, match="(?s)no picture left.*2 missing_annotation"):
        VOCDetection(root, "train")


@pytest.mark.parametrize("size", [None, (0, 0), (64, 0)])
def test_a_missing_size_comes_from_the_picture(tmp_path: Path, size: tuple[int, int] | None) -> None:
    root = make_voc(tmp_path, {"a": voc_xml([CAR, voc_object("car", (1, 1, 99, 9))], size=size)})
    for check_images in ("header", "exists"):
        dataset = VOCDetection(root, "train", check_images=check_images)  # type: ignore[arg-type]
        assert dataset[0].original_size == (64, 48)
        assert dataset[0].boxes[1].tolist() == [1, 1, 64, 9]
        assert problems(dataset) == [("missing_size", "a.xml", None), ("partly_outside", "a.xml", 1)]


def test_trust_picture_size(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": voc_xml([CAR], size=(640, 480))})
    dataset = VOCDetection(root, "train", trust_picture_size=True)
    assert dataset[0].original_size == (64, 48) and dataset[0].boxes.tolist() == [[1, 1, 20, 30]]
    problem = dataset.report.problems[0]
    assert problem.kind is ProblemKind.SIZE_MISMATCH
    assert problem.detail == "annotated as 640 x 480 pixels, a.jpg has 64 x 48"
    assert problem.consequence == "size taken from the picture"


def test_without_opening_pictures_faults_show_when_they_are_read(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": voc_xml([CAR], size=(48, 64)), "b": GOOD, "c": GOOD})
    (root / "JPEGImages/b.jpg").write_bytes(b"")
    (root / "JPEGImages/c.jpg").unlink()
    dataset = VOCDetection(root, "train", check_images="exists")
    assert problems(dataset) == [("missing_image", "c.jpg", None)]
    with pytest.raises(ImageReadError, match="a.jpg: expected 48 x 64 pixels as annotated, got 64 x 48"):
        dataset[0]
    with pytest.raises(ImageReadError, match="b.jpg: the file is empty"):
        dataset[1]


def test_pictures_are_not_decoded_at_construction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_voc(tmp_path, {"a": GOOD})

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("decoded a picture")

    monkeypatch.setattr("cv2.imdecode", refuse)
    dataset = VOCDetection(root, "train", cache_images=True)
    with pytest.raises(AssertionError, match="decoded a picture"):
        dataset[0]


def test_a_summary_is_logged_once_and_only_for_problems(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="refinedet")
    root = make_voc(tmp_path, {"a": GOOD})
    VOCDetection(root, "train")[0]
    assert not caplog.records
    make_voc(tmp_path, {"a": GOOD, "b": voc_xml([op for _, op in BROKEN_OBJECTS])})
    dataset = VOCDetection(root, "train")
    _ = dataset[0], dataset[1]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.records[0].getMessage() == dataset.report.summary()
    assert "10 problems" in caplog.text and "b.xml, object 3" in caplog.text


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
