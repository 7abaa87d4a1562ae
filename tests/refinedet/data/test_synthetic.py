"""The rendered data set: tight boxes, bounded overlap, even classes, and the same bytes each time."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refinedet.data import COCODetection, synthetic, to_coco_dict
from refinedet.data.shapes import SHAPE_CLASSES, shape_mask
from refinedet.data.synthetic import SceneOptions, render_dataset, render_scene
from refinedet.data.textures import TEXTURES, background, texture
from refinedet.evaluation import GroundTruth

SMALL = {"size": (64, 96), "object_size": (16, 40)}


def _digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_layout_and_content(tmp_path):
    made = render_dataset(tmp_path / "new" / "set", train=12, test=5, **SMALL)
    assert made.class_names == list(SHAPE_CLASSES)
    for split, count in (("train", 12), ("test", 5)):
        files = sorted(path.name for path in made.images[split].iterdir())
        assert files == [f"{i:06d}.jpg" for i in range(1, count + 1)]
        content = json.loads(made.annotations[split].read_text())
        assert [entry["file_name"] for entry in content["images"]] == files
        assert [c["name"] for c in content["categories"]] == list(SHAPE_CLASSES)
        for entry in content["images"]:
            image = cv2.imread(str(made.images[split] / entry["file_name"]))
            assert image.shape == (entry["height"], entry["width"], 3)
            assert min(image.shape[:2]) >= 64 and max(image.shape[:2]) <= 96
    options = json.loads((tmp_path / "new" / "set" / "options.json").read_text())
    assert options["seed"] == 0 and options["size"] == [64, 96]


def test_reads_as_a_coco_data_set_and_as_ground_truth(tmp_path):
    made = render_dataset(tmp_path, train=6, test=0, **SMALL)
    dataset = COCODetection(made.images["train"], made.annotations["train"], on_error="raise")
    assert len(dataset) == 6 and dataset.class_names == made.class_names
    truth = GroundTruth.load(made.annotations["train"])
    assert len(truth) == sum(len(dataset[i].labels) for i in range(6))
    assert len(GroundTruth.load(to_coco_dict(dataset), made.class_names)) == len(truth)
    empty = json.loads(made.annotations["test"].read_text())
    assert empty["images"] == [] and empty["annotations"] == []


def test_same_seed_same_bytes(tmp_path):
    for name in ("a", "b"):
        render_dataset(tmp_path / name, train=4, test=2, seed=7, **SMALL)
    render_dataset(tmp_path / "c", train=4, test=2, seed=8, **SMALL)
    first, second, other = (_digests(tmp_path / name) for name in "abc")
    assert first == second
    assert all(first[name] != other[name] for name in first)
    assert len(set(first.values())) == len(first)  # nor is any image like another


def test_images_do_not_depend_on_how_many_there_are(tmp_path):
    render_dataset(tmp_path / "few", train=2, test=3, **SMALL)
    render_dataset(tmp_path / "many", train=5, test=3, **SMALL)
    few, many = _digests(tmp_path / "few"), _digests(tmp_path / "many")
    shared = [name for name in few if name.endswith(".jpg") or name.endswith("test.json")]
    assert len(shared) == 6
    assert all(few[name] == many[name] for name in shared)
    entries = [
        json.loads((tmp_path / name / "annotations/train.json").read_text())["annotations"] for name in ("few", "many")
    ]
    assert entries[0] == entries[1][: len(entries[0])]


def test_classes_are_even_and_some_images_empty(tmp_path):
    made = render_dataset(tmp_path, train=120, test=0, empty=0.2, size=96, object_size=(12, 24))
    content = json.loads(made.annotations["train"].read_text())
    labels = [entry["category_id"] for entry in content["annotations"]]
    counts = np.bincount(labels, minlength=7)[1:]
    assert counts.min() > 0.9 * counts.max()
    with_objects = len({entry["image_id"] for entry in content["annotations"]})
    assert 120 * 0.65 < with_objects < 120 * 0.95


def test_png_and_a_choice_of_classes(tmp_path):
    made = render_dataset(tmp_path, train=3, test=0, image_format="png", classes=["ring", "disc"], **SMALL)
    content = json.loads(made.annotations["train"].read_text())
    assert [c["name"] for c in content["categories"]] == ["ring", "disc"]
    assert {entry["category_id"] for entry in content["annotations"]} <= {1, 2}
    assert (made.images["train"] / "000003.png").read_bytes()[1:4] == b"PNG"


def test_a_box_is_the_bounds_of_what_is_painted(monkeypatch):
    # without light, blur and noise an image differs from its background where the object is
    monkeypatch.setattr(synthetic, "_expose", lambda rng, canvas, options: canvas)
    options = SceneOptions(size=128, object_size=(12, 60), contrast=200)
    for seed in range(24):
        image, boxes, labels, areas = render_scene(np.random.default_rng(seed), [seed % 6 + 1], options)
        bare, *_ = render_scene(np.random.default_rng(seed), [], options)
        assert labels.tolist() == [seed % 6 + 1]
        changed = np.abs(image - bare).max(axis=2) > 1
        rows, columns = np.nonzero(changed)
        reach = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        x1, y1, x2, y2 = box = boxes[0].astype(int)
        # the soft edge, pixels less than half covered, reaches one pixel beyond (two at sharp tips)
        beyond = np.array([1, 1, -1, -1]) * (box - reach)
        assert (beyond >= 0).all() and (beyond <= 2).all()
        for side in (changed[y1:y2, x1], changed[y1:y2, x2 - 1], changed[y1, x1:x2], changed[y2 - 1, x1:x2]):
            assert side.any()
        assert 0.6 < areas[0] / changed.sum() <= 1


def test_what_is_hidden_is_no_part_of_the_box(monkeypatch):
    corners = iter([(10, 20), (30, 20), (-8, 70), None])
    monkeypatch.setattr(synthetic, "_random_mask", lambda *_: np.full((40, 40), 255, np.uint8))
    monkeypatch.setattr(synthetic, "_find_place", lambda *_: next(corners))
    _, boxes, labels, areas = render_scene(np.random.default_rng(0), [1, 2, 3, 4], SceneOptions(size=120))
    np.testing.assert_array_equal(boxes, [[10, 20, 30, 60], [30, 20, 70, 60], [0, 70, 32, 110]])
    np.testing.assert_array_equal(areas, [20 * 40, 40 * 40, 32 * 40])
    np.testing.assert_array_equal(labels, [1, 2, 3])  # the fourth found no place


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    labels=st.lists(st.integers(1, 6), max_size=8),
    overlap=st.sampled_from([0.0, 0.3, 0.6]),
)
def test_scenes_of_any_kind_are_sound(seed, labels, overlap):
    options = SceneOptions(size=(48, 96), object_size=(12, 60), max_overlap=overlap)
    image, boxes, kept, areas = render_scene(np.random.default_rng(seed), labels, options)
    height, width = image.shape[:2]
    assert image.dtype == np.uint8 and 48 <= min(height, width) <= max(height, width) <= 96
    assert len(boxes) == len(kept) == len(areas) <= len(labels)
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= [width, height]).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert (areas > 0).all()
    assert (areas <= np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)).all()
    remaining = list(labels)
    for label in kept.tolist():  # in the order asked for, some left out
        remaining = remaining[remaining.index(label) + 1 :]


@pytest.mark.parametrize("overlap", [0.0, 0.3])
def test_overlap_is_bounded(overlap):
    # With few sizes and turns, the area of an object alone is known: what hides it is the rest.
    options = SceneOptions(size=96, object_size=(30, 30), rotation=0, max_overlap=overlap, classes=["disc"])
    hidden = []
    for seed in range(40):
        _, boxes, _, areas = render_scene(np.random.default_rng(seed), [1] * 6, options)
        # discs stretched by at most e^0.2: at least that share of a circle of 30 pixels
        least = np.pi * 15**2 * np.exp(-0.2) * (1 - overlap)
        assert (areas > 0.97 * least).all()
        hidden.append(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) * np.pi / 4 - areas)
    # without overlap every disc fills pi/4 of its box
    touched = (np.abs(np.concatenate(hidden)) > 30).mean()
    assert touched < 0.02 if overlap == 0 else touched > 0.1


@pytest.mark.parametrize("name", SHAPE_CLASSES)
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_masks_have_the_size_asked_for(name, angle):
    for size in (12.0, 50.3, 160.0):
        mask = shape_mask(name, size, angle)
        rows, columns = np.nonzero(mask > 127)
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        # the very tip of a point covers less than half of its pixels
        assert size - (2.5 if name in ("star", "triangle") else 1) <= longer <= size + 1
        rim = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert (rim <= 127).all()


def test_shapes_cover_what_their_geometry_says():
    share = {name: (shape_mask(name, 120) > 127).sum() / 120**2 for name in SHAPE_CLASSES}
    expected = {
        "disc": np.pi / 4,
        "square": 1.0,
        "triangle": np.sqrt(3) / 4,
        "ring": np.pi / 4 * (1 - 0.52**2),
        "cross": 1 - 4 * ((1 - 0.33) / 2) ** 2,
    }
    for name, value in expected.items():
        assert share[name] == pytest.approx(value, rel=0.03)
    assert 0.2 < share["star"] < 0.4
    ring = shape_mask("ring", 60)
    assert ring[ring.shape[0] // 2, ring.shape[1] // 2] == 0


@pytest.mark.parametrize("name", TEXTURES)
def test_textures_stay_between_their_colors(name):
    first, second = np.array([10.0, 200.0, 30.0]), np.array([110.0, 100.0, 30.0])
    for shape in ((9, 14), (90, 40), (1, 1)):
        painted = texture(name, np.random.default_rng(0), shape, first, second)
        assert painted.shape == (*shape, 3) and painted.dtype == np.float32
        assert (painted >= np.minimum(first, second) - 1e-3).all()
        assert (painted <= np.maximum(first, second) + 1e-3).all()
    spread = texture(name, np.random.default_rng(0), (90, 40), first, second)[..., 0].std()
    assert spread == 0 if name == "plain" else spread > 15


def test_clutter_is_a_knob():
    def roughness(clutter):
        images = [background(np.random.default_rng(s), (120, 160), clutter) for s in range(8)]
        return np.mean([np.abs(np.diff(image, axis=1)).mean() for image in images])

    assert roughness(0) < 0.7 * roughness(1) < roughness(2)


def test_noise_and_contrast_are_knobs():
    def scene(**knobs):
        options = SceneOptions(size=96, clutter=0, object_size=(40, 41), **knobs)
        return render_scene(np.random.default_rng(5), [2], options)

    calm, rough = scene(noise=0)[0].astype(float), scene(noise=20)[0].astype(float)
    assert np.abs(np.diff(rough, axis=1)).mean() > 5 * np.abs(np.diff(calm, axis=1)).mean()
    faint, strong = (
        np.mean([_distance_to_surroundings(seed, contrast) for seed in range(10)]) for contrast in (0, 200)
    )
    assert strong > 1.3 * faint


def _distance_to_surroundings(seed, contrast):
    options = SceneOptions(size=96, clutter=0, noise=0, object_size=(40, 41), contrast=contrast, textures=["plain"])
    image, boxes, _, _ = render_scene(np.random.default_rng(seed), [2], options)
    x1, y1, x2, y2 = boxes[0].astype(int)
    inside = image[(y1 + y2) // 2, (x1 + x2) // 2].astype(float)
    return np.linalg.norm(inside - image.reshape(-1, 3).mean(axis=0))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"size": 16}, "size: expected pixels from 32 up"),
        ({"size": (90, 80)}, "size: expected .* low <= high"),
        ({"classes": ["disc", "cow"]}, r"classes: expected distinct names out of .* got \['disc'"),
        ({"classes": []}, "classes: expected distinct names"),
        ({"textures": ["plain", "plain"]}, "textures: expected distinct names"),
        ({"objects": (3, 2)}, "objects: expected 1 <= low <= high"),
        ({"object_size": (4, 20)}, "object_size: expected 8 <= low <= high"),
        ({"empty": 1.5}, "empty: expected a number from 0 to 1, got 1.5"),
        ({"max_overlap": -0.1}, "max_overlap: expected a number from 0 to 0.9"),
    ],
)
def test_bad_options_are_named(tmp_path, knobs, message):
    with pytest.raises(ValueError, match=message):
        render_dataset(tmp_path / "set", train=1, test=1, **knobs)
    assert not (tmp_path / "set").exists()


def test_other_bad_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match="image_format: expected 'jpg' or 'png', got 'bmp'"):
        render_dataset(tmp_path, image_format="bmp")
    with pytest.raises(ValueError, match="train: expected 0 or above, got -1"):
        render_dataset(tmp_path, train=-1)
    with pytest.raises(TypeError, match="colour"):
        render_dataset(tmp_path, train=1, colour="red")
    with pytest.raises(ValueError, match="labels: expected values in 1..6, got 7"):
        render_scene(np.random.default_rng(0), [7])
    with pytest.raises(ValueError, match="name: expected one of .* got 'cow'"):
        shape_mask("cow", 20)
    with pytest.raises(ValueError, match="size: expected at least 4 pixels"):
        shape_mask("disc", 2)
    with pytest.raises(ValueError, match="stretch: expected a number above 0"):
        shape_mask("disc", 20, stretch=0)
    with pytest.raises(ValueError, match="name: expected one of .* got 'fur'"):
        texture("fur", np.random.default_rng(0), (4, 4), np.zeros(3), np.ones(3))
