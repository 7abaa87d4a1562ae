"""The study of peers with stand-ins for the Pythons: what is run, what is kept, what is shown."""

from __future__ import annotations

import json
import sys
import time

import pytest

from benchmarks.study import peers
from benchmarks.study.peer_results import PeerResults
from benchmarks.study.peer_runs import Peers, Plan
from benchmarks.study.peer_training import ours
from benchmarks.study.peer_training.contestants import CONTESTANTS
from benchmarks.study.peer_training.task import Task
from benchmarks.study.peers_page import best_time, draw, pictures, recipe_table, standings, table, time_table
from refinedet import create_model

from ...refinedet.data.makers import make_voc, voc_object, voc_xml

# Does as a training process would, without training: the later snapshot finds the objects, the earlier one nothing.
STAND_IN = """#!{python}
import json, os, sys
from pathlib import Path
assert sys.argv[1] == "-m" and os.environ["OMP_NUM_THREADS"] == "1"
module, what, file = sys.argv[2:]
task = json.loads(Path(file).read_text())
folder = Path(task["folder"])
with open(Path(__file__).with_suffix(".calls"), "a") as calls:
    print(module.rsplit(".", 1)[1], what, task["contestant"], task["seed"], task["seconds"], file=calls)
if task["seed"] == 13:
    sys.exit("the thirteenth does not work")
if what == "time":
    times = {{"torch": {{"ms": 9.0}}, "openvino": {{"ms": 4.0 + task["seed"]}}, "openvino bfloat16": {{"ms": 2.0}}}}
    (folder / "speed.json").write_text(json.dumps({{"threshold": 0.25, "times": times}}))
    sys.exit()
truth = json.loads(Path(task["test"]).read_text())
objects = [
    {{"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.9}}
    for a in truth["annotations"]
]
points = []
for number, results in enumerate(([], objects)):
    (folder / f"{{number}}.json").write_text(json.dumps(results))
    points.append({{"seconds": 30.0 * (number + 1), "wall_seconds": 31.0, "steps": 1, "images": 205 * (number + 1),
                   "detections": f"{{number}}.json"}})
about = {{"parameters": 7, "versions": {{"torch": "1"}}}}
(folder / "history.json").write_text(json.dumps({{"points": points, "about": about}}))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("bccd")
    text = voc_xml([voc_object("RBC", (5, 5, 40, 40)), voc_object("WBC", (10, 10, 60, 44))])
    for split in ("train", "val", "test"):
        make_voc(root, {f"{split}1": text, f"{split}2": text}, split=split)
    return root


@pytest.fixture
def python(tmp_path):
    """A stand-in for an interpreter; `.calls` beside it lists what it was asked for."""
    path = tmp_path / "python"
    path.write_text(STAND_IN.format(python=sys.executable))
    path.chmod(0o755)
    return path


@pytest.fixture
def call(data, python, tmp_path, monkeypatch):
    """Runs the command with the stand-in for all Pythons, and gives its status and what the stand-in was asked for."""
    monkeypatch.setattr(peers.sys, "executable", str(python))

    def run(*more, others=True):
        calls = python.with_suffix(".calls")
        calls.write_text("")
        pythons = ["--torchvision-python", str(python), "--ultralytics-python", str(python)] if others else []
        status = peers.main(
            [
                *(
                    "--data",
                    str(data),
                    "--folder",
                    str(tmp_path / "work"),
                    "--results",
                    str(tmp_path / "out/peers.json"),
                ),
                *(*pythons, *more),
            ]
        )
        return status, calls.read_text().splitlines()

    return run


def results(tmp_path):
    return PeerResults(tmp_path / "out/peers.json").read()


def test_trains_times_and_does_not_do_it_again(call, tmp_path, capsys):
    names = ["refinedet_lite0", "ssd300_vgg16", "yolo26n"]
    arguments = ["--only", *names, "--seeds", "0", "1", "--minutes", "2", "--jobs", "1"]
    status, calls = call(*arguments)
    assert status == 0
    assert calls == [
        "ours train refinedet_lite0 0 120.0",
        "vision train ssd300_vgg16 0 120.0",
        "yolo train yolo26n 0 120.0",
        "ours train refinedet_lite0 1 120.0",
        "vision train ssd300_vgg16 1 120.0",
        "yolo train yolo26n 1 120.0",
        "ours time refinedet_lite0 0 120.0",
        "vision time ssd300_vgg16 0 120.0",
        "yolo time yolo26n 0 120.0",
    ]
    printed = capsys.readouterr().out
    assert "yolo26n/seed1  AP 100.0" in printed and "yolo26n/seed0  4.0 ms an image with openvino" in printed
    kept = results(tmp_path)
    assert [(run["contestant"], run["seed"]) for run in kept["runs"]] == [(n, s) for n in names for s in (0, 1)]
    assert [point["AP"] for point in kept["runs"][0]["points"]] == [0, 100]
    assert kept["runs"][0]["points"][1]["minutes"] == 1 and kept["runs"][0]["parameters"] == 7
    (tmp_path / "out/peers.json").unlink()
    assert call(*arguments) == (0, [])
    assert results(tmp_path) == kept


def test_other_settings_train_anew_and_take_the_place_of_all_earlier_runs(call, tmp_path):
    call("--only", "yolo26n", "--seeds", "0", "1", "--minutes", "2", "--no-times")
    _, calls = call("--only", "yolo26n", "--seeds", "0", "--minutes", "3", "--no-times")
    assert calls == ["yolo train yolo26n 0 180.0"]
    assert [(run["seed"], run["minutes"]) for run in results(tmp_path)["runs"]] == [(0, 3.0)]


def test_without_a_python_its_contestants_are_skipped_and_their_rows_stay(call, tmp_path, capsys):
    call("--only", "yolo26n", "--seeds", "0", "--no-times")
    status, calls = call("--only", "yolo26n", "refinedet_lite0", "--seeds", "0", "5", "--no-times", others=False)
    assert status == 0
    # two at a time, in whichever order they come
    assert sorted(calls) == ["ours train refinedet_lite0 0 300.0", "ours train refinedet_lite0 5 300.0"]
    assert "without --ultralytics-python, what it trains is skipped; earlier rows stay" in capsys.readouterr().out
    kept = [(run["contestant"], run["seed"]) for run in results(tmp_path)["runs"]]
    assert kept == [("refinedet_lite0", 0), ("refinedet_lite0", 5), ("yolo26n", 0)]


def test_a_contestant_that_fails_is_named_with_its_last_words(call, tmp_path, capsys):
    status, calls = call("--only", "yolo26n", "--seeds", "13", "1", "--jobs", "1", "--no-times")
    assert status == 1 and len(calls) == 2
    printed = capsys.readouterr().out
    assert "yolo26n/seed13  FAILED: the thirteenth does not work" in printed
    assert "1 of 2 trainings done, 1 failures" in printed
    assert [run["seed"] for run in results(tmp_path)["runs"]] == [1]


def test_list_runs_nothing(call, tmp_path, capsys):
    call("--only", "yolo26n", "--seeds", "0", "--no-times")
    capsys.readouterr()
    assert call("--list", "--only", "yolo26n", "ssd300_vgg16", "--seeds", "0") == (0, [])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "ssd300_vgg16/seed0",
        "yolo26n/seed0 (done)",
    ]


@pytest.mark.parametrize("option", ["--minutes", "--jobs"])
def test_refuses(option, call, capsys):
    with pytest.raises(SystemExit):
        call(option, "0")
    assert f"{option}: expected a positive number, got 0" in capsys.readouterr().err


def test_an_interruption_ends_the_processes(data, tmp_path):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ntouch '{tmp_path}/begun'\nexec sleep 1000\n")  # above the limit of a test
    python.chmod(0o755)
    study = Peers(data, tmp_path / "work", {"yolo": str(python)})
    sleeper = Plan(CONTESTANTS[-1], 0, 1.0)
    interrupt = Plan(CONTESTANTS[0], 0, 1.0)

    def work(plan):
        if plan is sleeper:
            study.train(plan)
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.processes.in_parallel([interrupt, sleeper], 2, work)
    assert not (tmp_path / "work" / sleeper.place / "result.json").exists()


def example():
    def run(name, seed, ap, small=10.0):
        points = [
            {"minutes": m, "images": 410 * m, "AP": ap * m / 2, "AP50": 90.0, "AP75": 40.0, "APs": small, "APm": 5.0,
             "APl": 50.0}
            for m in (1, 2)
        ]  # fmt: skip
        about = {"parameters": 2_500_000, "versions": {"torch": "2", "other": "1"}}
        return {"contestant": name, "seed": seed, "points": points, **about}

    runs = [run("yolo26n", 0, 20.0, None), *(run("refinedet_lite0", seed, 50.0 + seed) for seed in range(3))]
    times = {"torch": {"ms": 20.0}, "openvino": {"ms": 8.0}, "openvino bfloat16": {"ms": 5.0}}
    left_out = {"torch": {"ms": 30.0}, "openvino bfloat16": {"left_out": "lacks a detection"}}
    return {
        "runs": runs,
        "times": [{"contestant": "refinedet_lite0", "times": times}, {"contestant": "yolo26n", "times": left_out}],
    }


def cells_of(lines):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_table_has_the_best_first_with_intervals_and_the_fastest_runtimes():
    cells = cells_of(table(example()))
    assert cells[2][:5] == ["RefineDet, Lite0", "ImageNet", "4.0", "51.0 ± 2.5", "90.0 ± 0.0"]
    assert cells[2][-2:] == ["8.0 (openvino)", "5.0"]
    assert cells[3][:4] == ["ultralytics YOLO26n", "random", "4.0", "20.0"]
    assert cells[3][6] == "" and cells[3][-2:] == ["30.0 (torch)", "left out"]
    assert [row[2] for row in cells[4:]] == ["not run"] * (len(CONTESTANTS) - 2)


def test_time_table_has_the_fastest_first():
    cells = cells_of(time_table(example()))
    assert cells[0][2:] == ["torch", "openvino", "openvino bfloat16"]
    assert cells[2] == ["RefineDet, Lite0", "ImageNet", "20.0", "8.0", "5.0"]
    assert cells[3] == ["ultralytics YOLO26n", "random", "30.0", "", "left out"]


def test_recipes_with_what_they_were_trained_with():
    cells = cells_of(recipe_table(example()))
    assert len(cells) == 2 + len(CONTESTANTS)
    assert cells[3] == ["RefineDet, Lite0", "ImageNet", "own_data.yaml, 320 px", "2.5", "torch 2, other 1"]
    assert cells[2][3:] == ["", ""]


def test_curves_of_all_seeds_at_the_minutes_of_the_first():
    minutes, curves = standings(example())[0].curves()
    assert minutes == [1, 2]
    assert curves.tolist() == [[25, 50], [25.5, 51], [26, 52]]
    later = example()  # a seed with points at other minutes
    later["runs"][2]["points"][0].update(minutes=1.5, AP=30.0)
    later["runs"][2]["points"].insert(0, {**later["runs"][2]["points"][0], "minutes": 0.5, "AP": 20.0})
    assert standings(later)[0].curves()[1][1].tolist() == [25, 51]


@pytest.mark.parametrize("contestant", [one for one in CONTESTANTS if one.module == "ours"], ids=lambda one: one.name)
def test_runs_of_this_package_are_what_their_recipe_says(contestant, tmp_path):
    files = {part: f"{part}.json" for part in ("train", "val", "test")}
    task = Task(contestant=contestant.name, seed=3, seconds=60.0, points=[1.0], images="images", **files,
                folder=str(tmp_path), weights=None, options=contestant.options)  # fmt: skip
    config = ours.run_config(task)
    assert (config.model.name, config.train.seed, config.data.workers) == (contestant.options["model"], 3, 0)
    assert [part.annotation_file for part in (config.data.train, config.data.val, config.data.test)] == [
        *files.values()
    ]
    assert config.data.batch_size == 16 and config.optim.optimizer == "adamw"
    assert config.data.cache_images == ("small" in contestant.name)
    assert config.data.augment.get("crop_probability") == (0.0 if "flips alone" in contestant.recipe else None)
    assert create_model(config.model.registered, 4, **config.model.options).config.input_size == 320


def test_best_time():
    times = example()["times"][0]["times"]
    assert best_time(times) == ("openvino", 8.0)
    assert best_time(times, bfloat16=True) == ("openvino bfloat16", 5.0)
    with pytest.raises(ValueError, match="expected a runtime that was measured"):
        best_time({"torch": {"left_out": "lacks a detection"}})


def test_plots_of_what_there_is(tmp_path):
    nothing = {"runs": [], "times": []}
    draw(nothing, tmp_path)
    assert list(tmp_path.iterdir()) == [] and pictures(nothing) == ["Not run yet."]
    draw(example(), tmp_path)
    for name in ("peers.png", "peers_times.png"):
        assert (tmp_path / name).stat().st_size > 10_000 and any(f"({name})" in line for line in pictures(example()))


def test_contestants_are_told_apart():
    assert len({c.name for c in CONTESTANTS}) == len({(c.label, c.start) for c in CONTESTANTS}) == len(CONTESTANTS)


def test_settings_are_plain_json(data, tmp_path):
    study = Peers(data, tmp_path, {})
    for contestant in CONTESTANTS:
        settings = study.settings(Plan(contestant, 0, 1.0))
        assert json.loads(json.dumps(settings)) == settings
