from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import yaml

from refinedet.engine.class_weights import with_class_weights
from refinedet.engine.splits import open_split
from refinedet.engine.train import train
from refinedet.losses import class_weights_from_counts
from refinedet.registry import create_model
from refinedet.weights import load_model, save_model

PLUSPLUS = {
    "box_loss": "giou",
    "class_weights": "data",
    "soft_label_alpha": 0.25,
    "anchor_weight_beta": 0.9,
    "task_balance": "uncertainty",
    "nms": "coco",
}


def with_options(config, **options):
    return replace(config, model=replace(config.model, options={**config.model.options, **options}))


def counts_in(rendered):
    content = json.loads((rendered / "annotations/train.json").read_text())
    ids = sorted(category["id"] for category in content["categories"])
    return [sum(a["category_id"] == i and not a.get("iscrowd") for a in content["annotations"]) for i in ids]


def test_data_becomes_the_numbers_of_the_training_set(config, rendered):
    run = with_options(config, class_weights="data", class_weight_largest=4.0, class_weight_gamma=0.5)
    got = with_class_weights(run, open_split(run.data, "train")).model.options
    want = class_weights_from_counts(counts_in(rendered), largest=4.0, gamma=0.5)
    assert got["class_weights"] == pytest.approx(want, abs=1e-5) and min(got["class_weights"]) == 1
    assert max(got["class_weights"]) == pytest.approx(4)
    assert run.model.options["class_weights"] == "data"  # the argument stays as it is


def test_other_runs_stay_as_they_are(config):
    dataset = open_split(config.data, "train")
    assert with_class_weights(config, dataset) is config
    given = with_options(config, class_weights=[1.0] * 6)
    assert with_class_weights(given, dataset) is given
    tuned = replace(config, model=replace(config.model, weights="model.safetensors"))
    assert with_class_weights(tuned, dataset) is tuned


def test_fine_tuning_counts_its_own_data_by_the_files_rule(config, rendered, tmp_path):
    before = create_model(config.model.name, 3, **config.model.options, class_weight_largest=4.0)
    file = save_model(before, tmp_path / "model.safetensors", class_names=["a", "b"])
    tuned = with_options(config, class_weights="data")
    tuned = replace(tuned, model=replace(tuned.model, weights=str(file)))
    got = with_class_weights(tuned, open_split(config.data, "train")).model.options["class_weights"]
    assert got == pytest.approx(class_weights_from_counts(counts_in(rendered), largest=4.0), abs=1e-5)


def test_a_run_with_all_strategies_keeps_its_weights_in_the_model_file(config, rendered):
    result = train(with_options(config, **PLUSPLUS))
    weights = class_weights_from_counts(counts_in(rendered))
    model = load_model(result.last).model
    assert model.config.loss.class_weights == pytest.approx(weights, abs=1e-5)
    assert model.criterion.balance.log_variance.any()  # it was trained
    options = yaml.safe_load((result.output / "config.yaml").read_text())["model"]["options"]
    assert options["class_weights"] == pytest.approx(weights, abs=1e-5)


def test_a_run_goes_on_by_the_command_that_began_it(config, rendered, tmp_path):
    """Its class weights are numbers by then, and "data" stands for the same ones; for others it is refused."""
    begun = with_options(config, **PLUSPLUS)
    train(begun)
    again = replace(begun, train=replace(begun.train, resume=begun.output), output=str(tmp_path / "again"))
    result = train(again)
    options = yaml.safe_load((result.output / "config.yaml").read_text())["model"]["options"]
    assert options["class_weights"] == pytest.approx(class_weights_from_counts(counts_in(rendered)), abs=1e-5)

    data = tmp_path / "data"
    shutil.copytree(rendered, data)
    file = data / "annotations/train.json"
    content = json.loads(file.read_text())
    content["annotations"] += [{**content["annotations"][0], "id": 10_000 + i} for i in range(20)]
    file.write_text(json.dumps(content))
    changed = replace(again, data=replace(again.data, root=str(data)), output=str(tmp_path / "changed"))
    with pytest.raises(ValueError, match=r"model\.options\.class_weights: expected .* got .* from the data"):
        train(changed)
    assert not (tmp_path / "changed").exists()


def test_numbers_that_were_given_are_not_those_of_the_data(config, tmp_path):
    begun = with_options(config, class_weights=[1.0, 2.0, 1.0, 2.0, 1.0, 2.0])
    train(begun)
    again = replace(begun, train=replace(begun.train, resume=begun.output), output=str(tmp_path / "again"))
    with pytest.raises(ValueError, match=r"expected .*1\.0, 2\.0.* got .* from the data"):
        train(with_options(again, class_weights="data"))
    with pytest.raises(ValueError, match=r"model\.options\.class_weights: expected .*, got None"):
        train(with_options(again, class_weights=None))
