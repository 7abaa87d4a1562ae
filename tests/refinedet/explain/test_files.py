"""The command's pictures and numbers, and what it refuses before it writes anything."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

import refinedet
from refinedet.cli import main
from refinedet.explain import explain, explain_file
from refinedet.explain.drawing import draw_filtering, draw_objectness, draw_objects, draw_sampling

from .models import image, tiny

PICTURES = {"objectness.png", "filtering.png", "features.png", "objects.png", "sampling.png"}


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), image())
    return path


def saved(model, tmp_path):
    return refinedet.save_model(model, tmp_path / "model.safetensors", class_names=["WBC", "RBC", "platelets"])


@pytest.mark.parametrize(
    ("name", "options", "missing"),
    [
        ("efgrnet192_small", {}, set()),
        ("refinedet192_small", {}, {"sampling.png"}),
        ("efgrnet192_small", {"cascade": False}, {"sampling.png", "objectness.png", "filtering.png"}),
    ],
)
def test_the_command_writes_the_views_that_there_are(name, options, missing, photo, tmp_path, capsys):
    weights = saved(tiny(name, **options), tmp_path)
    out = tmp_path / "out"
    arguments = ["explain", str(photo), "--weights", str(weights), "--output", str(out)]
    assert main([*arguments, "--score_threshold", "0.05", "--objects", "2"]) == 0
    assert {path.name for path in out.iterdir()} == (PICTURES - missing) | {"explain.json"}
    for path in out.glob("*.png"):
        drawn = cv2.imread(str(path))
        assert drawn.std() > 10 and max(drawn.shape) < 2000
    content = json.loads((out / "explain.json").read_text())
    assert (content["model"], content["image"], len(content["objects"])) == (name, str(photo), 2)
    text = capsys.readouterr().out
    assert "stride 8: " in text and "2 of " in text and f"written to {out}/" in text
    assert ("no sampling points: this detector has no deformable alignment" in text) == ("sampling.png" in missing)


def test_nothing_found_still_shows_the_maps(photo, tmp_path, capsys):
    weights, out = saved(tiny("refinedet192_small"), tmp_path), tmp_path / "out"
    assert main(["explain", str(photo), "--weights", str(weights), "--output", str(out), "--score_threshold=1"]) == 0
    assert {path.name for path in out.iterdir()} == {"objectness.png", "filtering.png", "features.png", "explain.json"}
    assert "0 of 0 detections with a score of 1 or above are explained" in capsys.readouterr().out


def test_what_does_not_fit_is_refused_before_anything_is_written(photo, tmp_path):
    weights, out = saved(tiny("refinedet192_small"), tmp_path), tmp_path / "out"
    used = tmp_path / "used"
    used.mkdir()
    (used / "mine.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="output: expected a folder with nothing in it"):
        explain_file(photo, weights, used)
    with pytest.raises(FileNotFoundError, match="no such image"):
        explain_file(tmp_path / "none.png", weights, out)
    with pytest.raises(FileNotFoundError, match="weights: no file"):
        explain_file(photo, tmp_path / "none.safetensors", out)
    with pytest.raises(ValueError, match="device: expected one such as cpu or cuda, got 'gpu'"):
        explain_file(photo, weights, out, device="gpu")
    with pytest.raises(ValueError, match="objects: expected an integer of at least 1"):
        explain_file(photo, weights, out, objects=0)
    assert not out.exists() and [path.name for path in used.iterdir()] == ["mine.txt"]


def test_heat_lies_where_its_cell_is():
    found = explain(tiny("refinedet192_small", theta=1.0), image(60, 90))
    axes = draw_objectness(found).axes
    for level, panel in zip(found.levels, axes[1:], strict=False):
        heat = panel.images[-1]
        assert heat.get_extent() == pytest.approx((0, 90, 60, 0)) and heat.get_array().shape == (
            level.rows,
            level.columns,
        )
        assert panel.get_xlim() == (0, 90) and panel.get_ylim() == (60, 0)


def test_dark_cells_are_those_in_which_nothing_passes():
    found = explain(tiny("refinedet192_small"), image(60, 90))
    found.kept[0][:] = 0
    found.kept[0][2, 3] = 1
    axes = draw_filtering(found).axes
    dark = np.asarray(axes[0].images[-1].get_array())[..., 3]
    assert dark[2, 3] == 0 and (dark > 0).sum() == dark.size - 1
    assert "1 of 256 anchors pass" in axes[0].get_title()


def test_points_and_boxes_are_drawn_where_they_are():
    model = tiny("padet192_small", theta=1.0, nms={"score_threshold": 0.0, "min_score": 0.0})
    found = explain(model, image(60, 90), score_threshold=0.0, objects=3)
    for one, panel in zip(found.objects, draw_objects(found).axes, strict=True):
        corners = {tuple(np.round(patch.get_xy(), 3)) for patch in panel.patches}
        for box in (one.anchor, one.refined, one.box):
            assert tuple(np.round(box[:2], 3)) in corners
        drawn = [offsets for collection in panel.collections for offsets in collection.get_offsets()]
        np.testing.assert_allclose(drawn, [] if one.points is None else one.points)
    shown = [point for one in found.objects if one.points is not None for point in one.points]
    (panel,) = draw_sampling(found).axes
    np.testing.assert_allclose([o for c in panel.collections for o in c.get_offsets()], shown)
