"""Broken annotations and images in a VOC layout: each is found, named, and skipped or refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from refinedet.data.image_io import ImageReadError
from refinedet.data.report import AnnotationError, ProblemKind
from refinedet.data.voc import VOCDetection

from .makers import make_voc, voc_object, voc_xml

CAR = voc_object("car", (1, 1, 20, 30))
GOOD = voc_xml([CAR])


def problems(dataset: VOCDetection) -> list[tuple[str, str, int | None]]:
    return [(p.kind.value, Path(p.file).name, p.object_index) for p in dataset.report]


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
    image, annotation = root / "JPEGImages/bad.jpg", root / "Annotations/bad.xml"
    if how == "missing_image":
        image.unlink()
    elif how == "empty":
        image.write_bytes(b"")
    elif how == "text":
        image.write_text("no image, though long enough to hold a header")
    elif how == "cut off":
        image.write_bytes(image.read_bytes()[:-40])
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
def test_broken_images_are_skipped_and_named(tmp_path: Path, how: str, kind: str, file: str) -> None:
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
    with pytest.raises(AnnotationError, match="(?s)no image left.*2 missing_annotation"):
        VOCDetection(root, "train")


@pytest.mark.parametrize("size", [None, (0, 0), (64, 0)])
def test_a_missing_size_comes_from_the_image(tmp_path: Path, size: tuple[int, int] | None) -> None:
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
    assert problem.consequence == "size taken from the image"


def test_without_opening_images_faults_show_when_they_are_read(tmp_path: Path) -> None:
    root = make_voc(tmp_path, {"a": voc_xml([CAR], size=(48, 64)), "b": GOOD, "c": GOOD})
    (root / "JPEGImages/b.jpg").write_bytes(b"")
    (root / "JPEGImages/c.jpg").unlink()
    dataset = VOCDetection(root, "train", check_images="exists")
    assert problems(dataset) == [("missing_image", "c.jpg", None)]
    with pytest.raises(ImageReadError, match="a.jpg: expected 48 x 64 pixels as annotated, got 64 x 48"):
        dataset[0]
    with pytest.raises(ImageReadError, match="b.jpg: the file is empty"):
        dataset[1]


def test_images_are_not_decoded_at_construction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_voc(tmp_path, {"a": GOOD})

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("decoded an image")

    monkeypatch.setattr("cv2.imdecode", refuse)
    dataset = VOCDetection(root, "train", cache_images=True)
    with pytest.raises(AssertionError, match="decoded an image"):
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
