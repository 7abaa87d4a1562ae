import json

import pytest

from benchmarks.study import ablations, fractions, scenes
from benchmarks.study.ablations import DATA, ITERATIONS, RUNS, SUPPRESSIONS, TABLES, config_of, planned
from benchmarks.study.worker import config_of as run_config
from refinedet import create_model, model_entry
from refinedet.data import COCODetection
from refinedet.data.synthetic import render_dataset
from refinedet.pretrained import LITE0


@pytest.mark.parametrize("key", RUNS)
def test_a_training_is_a_valid_run_of_what_it_says(key, tmp_path):
    config = config_of(key, "bccd", tmp_path, seed=2)
    run = run_config(config, tmp_path / "run")
    assert run.train.iterations == ITERATIONS and run.train.seed == 2 and run.data.val.split == "test"
    options = model_entry(run.model.name).config.with_options(**run.model.options)
    assert options.input_size == ablations.SIZE
    # class weights that the data gives are there when the data is
    if run.model.options.get("class_weights") != "data":
        create_model(run.model.name, num_classes=3, **run.model.options)


def test_every_ablation_differs_from_its_full_model(tmp_path):
    for key, (family, _) in RUNS.items():
        whole, part = (config_of(k, "bccd", tmp_path, 0)["model"] for k in (family, key))
        assert (whole != part) == (key != family), key


def test_tables_have_trainings_and_references():
    rows = [row for table in TABLES for row in table.rows]
    assert {row.run for row in rows} == set(RUNS)
    for table in TABLES:
        assert len({row.name for row in table.rows}) == len(table.rows)
        table.row(table.reference)
    for row in rows:
        assert row.suppression in ("", *SUPPRESSIONS.get(row.run, ()))


def test_the_first_seed_of_everything_comes_first(tmp_path):
    runs = planned(dict.fromkeys(DATA, tmp_path), [0, 1, 2], ITERATIONS)
    assert len(runs) == 3 * len(DATA) * len(RUNS) == len({run.place for run in runs})
    assert [run.seed for run in runs] == sorted(run.seed for run in runs)


def test_hard_scenes_are_hard_and_rendered_once(tmp_path):
    root = scenes.hard_scenes(tmp_path / "scenes", train=30, test=2)
    truth = COCODetection(root / "train", root / "annotations/train.json")
    labels = [int(label) for i in range(30) for label in truth[i].labels]
    counts = [labels.count(k) for k in range(1, 7)]
    assert 5 * counts[4] < sum(counts[:2]) and min(counts) > 0 and len(labels) > 10 * 30
    before = (root / "annotations/train.json").stat().st_mtime_ns
    assert scenes.hard_scenes(root, train=30, test=2) == root
    assert (root / "annotations/train.json").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="expected scenes rendered with"):
        scenes.hard_scenes(root, train=31, test=2)


def test_larger_parts_have_the_photographs_of_the_smaller(tmp_path):
    names = [f"photo{i}" for i in range(205)]
    parts = [set(fractions.names_of(names, percent, 1)) for percent in fractions.FRACTIONS]
    assert [len(part) for part in parts] == [51, 102, 154, 205]
    assert all(small < large for small, large in zip(parts, parts[1:], strict=False))
    assert fractions.names_of(names, 25, 1) != fractions.names_of(names, 25, 2)
    assert fractions.names_of(list(reversed(names)), 25, 1) == fractions.names_of(names, 25, 1)

    data = tmp_path / "bccd"
    for part in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (data / part).mkdir(parents=True)
    (data / "ImageSets/Main/train.txt").write_text("\n".join(names[:8]))
    (data / "ImageSets/Main/test.txt").write_text("t\n")
    for _ in range(2):  # again over what is there
        linked = fractions.link_parts(data, tmp_path / "parts", [3])
    assert len((linked / "ImageSets/Main/train25_3.txt").read_text().split()) == 2
    assert (linked / "JPEGImages").resolve() == (data / "JPEGImages").resolve()


def test_every_way_to_train_on_a_part(tmp_path):
    runs = fractions.planned(tmp_path, [0, 1], 400)
    assert len(runs) == len({run.place for run in runs}) == 2 * (4 + 4 + 4 + 1 + 1)
    made = {run.place: run_config(run.config, tmp_path) for run in runs}  # refuses what is no option
    assert [made[f"{name}/100/seed0"].model.backbone_weights for name in fractions.WAYS] == [LITE0] * 2 + [None] * 3
    crops = [made[f"{name}/100/seed0"].data.augment.get("crop_probability") for name in fractions.WAYS]
    assert crops == [None, 0.0, 0.0, None, 0.0]


def test_frequency_of_classes(tmp_path):
    made = render_dataset(tmp_path / "a", train=12, test=0, seed=1, size=64, objects=(4, 4), classes=("disc", "star"),
                          frequency=(3, 1), object_size=(8, 12), empty=0.0)  # fmt: skip
    found = json.loads(made.annotations["train"].read_text())["annotations"]
    counts = [sum(a["category_id"] == k for a in found) for k in (1, 2)]
    assert counts[0] > 2 * counts[1] > 0
    with pytest.raises(ValueError, match="frequency: expected a number from 1 up for each of 2 classes"):
        render_dataset(tmp_path / "b", classes=("disc", "star"), frequency=(3,))
    assert not (tmp_path / "b").exists()
