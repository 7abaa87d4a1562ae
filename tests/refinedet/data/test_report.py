from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from refinedet.data.report import AnnotationError, AnnotationReport, ProblemKind


def make_report() -> AnnotationReport:
    report = AnnotationReport("demo", images=3, objects=4)
    report.add(ProblemKind.NO_AREA, "b.xml", 2, "box (1, 1, 1, 1) has no area")
    report.add(ProblemKind.MISSING_IMAGE, Path("a.jpg"), None, "no such image")
    report.add(ProblemKind.NO_AREA, "c.xml", 0, "box (2, 2, 2, 2) has no area")
    report.excluded["difficult"] += 5
    return report


def test_counts_and_access() -> None:
    report = make_report()
    assert len(report) == 3
    assert report.counts == {"missing_image": 1, "no_area": 2}
    assert [p.file for p in report.of_kind("no_area")] == ["b.xml", "c.xml"]
    assert [p.object_index for p in report] == [2, None, 0]
    with pytest.raises(ValueError, match="typo"):
        report.of_kind("typo")


def test_summary_names_file_and_object() -> None:
    text = make_report().summary()
    assert text.splitlines() == [
        "demo: 3 images with 4 objects",
        "  left out by option: 5 difficult",
        "  3 problems: 1 missing_image, 2 no_area",
        "  - b.xml, object 2: box (1, 1, 1, 1) has no area (no_area; object skipped)",
        "  - a.jpg: no such image (missing_image; image skipped)",
        "  - c.xml, object 0: box (2, 2, 2, 2) has no area (no_area; object skipped)",
    ]
    assert make_report().summary(limit=1).splitlines()[-1] == "  - and 2 more"
    assert make_report().summary(limit=None).count("  - ") == 3
    assert "no problems found" in AnnotationReport("demo").summary()


def test_summary_counts_one_as_one() -> None:
    report = AnnotationReport("demo", images=1, objects=1)
    report.add(ProblemKind.NO_AREA, "b.xml", 2, "box (1, 1, 1, 1) has no area")
    assert report.summary().splitlines()[:2] == ["demo: 1 image with 1 object", "  1 problem: 1 no_area"]


def test_json(tmp_path: Path) -> None:
    report = make_report()
    report.write_json(tmp_path / "report.json")
    content = json.loads((tmp_path / "report.json").read_text())
    assert content == report.to_dict()
    assert content["counts"] == {"missing_image": 1, "no_area": 2}
    assert content["excluded"] == {"difficult": 5}
    assert content["problems"][1] == {
        "kind": "missing_image",
        "file": "a.jpg",
        "object_index": None,
        "detail": "no such image",
        "consequence": "image skipped",
    }


def test_every_kind_has_a_consequence() -> None:
    assert {kind.consequence for kind in ProblemKind} == {
        "image skipped",
        "object skipped",
        "size taken from the image",
        "box clipped to the image",
    }


def test_error_carries_the_report_and_survives_pickling() -> None:
    error = AnnotationError(make_report(), "refused:")
    assert str(error).startswith("refused:\ndemo: 3 images")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.report.counts == error.report.counts
