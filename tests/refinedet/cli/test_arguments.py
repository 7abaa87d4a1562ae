"""What is typed: names of commands and options, configurations beside options, and the messages for what is wrong."""

from __future__ import annotations

import pytest
import yaml

from refinedet.cli import main
from refinedet.cli.parser import build_parser, option_names


@pytest.fixture
def printed(capsys):
    """The resolved configuration of `refinedet train` with some arguments."""

    def resolve(*arguments):
        with pytest.raises(SystemExit) as done:
            main(["train", *arguments, "--print_config"])
        assert done.value.code in (0, None)
        return yaml.safe_load(capsys.readouterr().out)

    return resolve


@pytest.fixture
def refused(capsys):
    """The message of a command that does not start."""

    def run(*arguments):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("refinedet: error: ") and error.count("\n") == 1
        return error.removeprefix("refinedet: error: ").strip()

    return run


def config_file(tmp_path, text, name="run.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_hyphens_and_underscores_are_one(printed):
    content = printed("--data.val-fraction", "0.1", "--data.eval-batch-size=3", "--optim.warmup_iterations", "5")
    assert content["data"]["val_fraction"] == 0.1 and content["data"]["eval_batch_size"] == 3
    assert content["optim"]["warmup_iterations"] == 5


def test_keys_of_mappings_stay_as_they_are(printed):
    content = printed("--model.subsample-classes.dining-table", "diningtable", "--model.options.input_size", "256")
    assert content["model"]["subsample_classes"] == {"dining-table": "diningtable"}
    assert content["model"]["options"] == {"input_size": 256}


def test_options_go_before_configurations_wherever_they_stand(printed, tmp_path):
    one = config_file(tmp_path, "optim: {lr: 0.1, momentum: 0.5}\ndata: {root: a}\n", "one.yaml")
    two = config_file(tmp_path, "optim: {lr: 0.2}\n", "two.yaml")
    content = printed("--optim.lr", "0.3", "--config", one, f"--config={two}")
    assert content["optim"]["lr"] == 0.3 and content["optim"]["momentum"] == 0.5
    content = printed("--config", one, "--config", two)
    assert content["optim"]["lr"] == 0.2 and content["data"]["root"] == "a"


def test_a_section_as_a_whole(printed, refused, tmp_path):
    file = config_file(tmp_path, "root: cells\nval-fraction: 0.3\n")
    content = printed("--data", file, "--optim", '{"lr": 0.5}')
    assert content["data"]["root"] == "cells" and content["data"]["val_fraction"] == 0.3
    assert content["optim"]["lr"] == 0.5
    assert refused("train", "--data", "no.yaml") == "--data: expected a YAML file or {key: value, ...}, got no.yaml"


@pytest.mark.parametrize(("given", "replaced"), [("iterations", "epochs"), ("epochs", "iterations")])
def test_a_length_replaces_the_other_kind_of_a_configuration(printed, tmp_path, given, replaced):
    file = config_file(tmp_path, f"train: {{{replaced}: 7}}\n")
    for arguments in (["--config", file, f"--train.{given}=3"], [f"--train.{given}=3", "--config", file]):
        content = printed(*arguments)["train"]
        assert content[given] == 3 and content[replaced] is None
    derived = config_file(tmp_path, f"base: run.yaml\ntrain: {{{given}: 4}}\n", "derived.yaml")
    assert printed("--config", derived)["train"][replaced] is None


def test_two_lengths_are_refused(refused):
    message = refused("train", "--train.iterations", "3", "--train.epochs", "3")
    assert message == "--train.iterations, --train.epochs: expected one of them, got both"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "no command 'trian'; did you mean train?"),
        (["fly"], "no command 'fly'; there are train, find_lr, pretrain, eval, predict, analyse"),
        (["--verbose", "train"], "--verbose: expected a command first, one of train"),
        (["train", "--optim.lrr", "1"], "--optim.lrr: refinedet train has no such option; did you mean --optim.lr?"),
        (["train", "--epochs", "3"], "--epochs: refinedet train has no such option; did you mean --train.epochs?"),
        (["train", "--data.clases=[a]"], "did you mean --data.classes?"),
        (["predict", "--score-treshold", "1"], "did you mean --score_threshold?"),
        (["train", "cells"], "unexpected: cells"),
        (["train", "--optim.lr=abc"], "optim.lr: expected a number, got abc"),
        (["train", "--data.batch_size", "1.5"], "data.batch_size: expected an integer, got 1.5"),
        (["train", "--train.clip_norm", "x"], "train.clip_norm: expected a number or null, got x"),
        (["train", "--train.clip_norm", "true"], "train.clip_norm: expected a number or null, got true"),
        (["train", "--train.epochs", "true"], "train.epochs: expected an integer or auto or null, got true"),
        (["train", "--data.format", "vocc"], "data.format: expected one of auto, voc, coco, yolo, csv, got vocc"),
        (["train", "--optim.milestones", "[a]"], "optim.milestones: expected a list, each an integer, got a"),
        (["predict", "--score_threshold.RBC", "x", "a.jpg"], "score_threshold.RBC: expected a number, got x"),
        (
            ["predict", "--score_threshold", "x", "a.jpg"],
            "score_threshold: expected a number or keys and values, got x",
        ),
        (["train", "--model.options", "3"], "model.options: expected keys and values, got 3"),
        (["train", "--model", '{"name": [3]}'], "model.name: expected text or null, got [3]"),
        (["train", "--optim.momentum", "2"], "optim.momentum: expected a number from 0 to 1.0, got 2.0"),
        (["train", "--config"], "--config: expected a value, got nothing"),
        (["train", "--config", "--optim.lr"], "--config: expected a value, got --optim.lr"),
        (["train", "--config="], "--config: expected a value, got nothing"),
        (["train", "--config", "refinedet320_vgg16_voc7"], "did you mean refinedet320_vgg16_voc07"),
        (
            ["train", "--config", "nothing"],
            "config: no file nothing, and none of that name comes along; refinedet info",
        ),
        (["predict", "--weights", "w"], "images: required, got nothing"),
        (["predict", "x.jpg"], "--weights: required, got nothing"),
        (["convert", "a.pth", "b.safetensors"], "--from: required, got nothing"),
        (["train", "--import"], "--import: expected a value, got nothing"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(refused, arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: 3\n", "data: expected keys and values in {file}, got 3"),
        ("data: {train: [a]}\n", "data.train: expected keys and values in {file}, got ['a']"),
        ("train: {epoks: 3}\n", "train.epoks: no such option, in {file}; did you mean train.epochs?"),
        ("epochs: 3\n", "epochs: no such option, in {file}; did you mean train.epochs?"),
        ("output: a\noutput: b\n", "config: {file} is not YAML, line 2: 'output' is given twice"),
        ("optim: {lr: 1, lr: 2}\n", "config: {file} is not YAML, line 1: 'lr' is given twice"),
        (b'output: "\xff"\n', "config: expected text in UTF-8 in {file}, got invalid start byte at byte 9"),
        ("- 3\n", "config: expected keys and values in {file}, got list"),
        ("output: [\n", "config: {file} is not YAML, line 2"),
        ("[" * 5000, "config: {file} is not YAML"),
    ],
)
def test_a_configuration_that_is_wrong_is_named(refused, tmp_path, text, message):
    file = config_file(tmp_path, text)
    assert refused("train", "--config", file).startswith(message.format(file=file))


def test_an_empty_section_is_none(printed, tmp_path):
    assert printed("--config", config_file(tmp_path, "data:\noutput: x\n"))["output"] == "x"


def test_merge_keys_of_yaml_may_be_given_again(printed, tmp_path):
    text = "data: {train: &part {split: a, image_dir: b}, val: {<<: *part, split: c}}\n"
    data = printed("--config", config_file(tmp_path, text))["data"]
    assert data["val"]["split"] == "c" and data["val"]["image_dir"] == "b"


def test_names_of_the_training_options():
    names = option_names(build_parser("train"))
    assert {"data", "data.train", "optim"} <= names.sections and "data" not in names.names
    assert names.mappings == {"model.options", "model.subsample_classes", "data.augment"}
    assert names.find("data.classes+") == "data.classes+" and names.find("data") is None


def test_a_run_without_a_configuration_begins_with_the_recipe_for_own_data(printed):
    config = printed("--data.root", "cells", "--optim.lr", "0.002")
    assert config["model"]["name"] == "refinedetlite320_efficientnet_lite0"
    assert config["model"]["backbone_weights"] == "efficientnet_lite0"
    assert config["optim"]["optimizer"] == "adamw" and config["optim"]["lr"] == 0.002
    assert config["train"]["epochs"] == "auto" and config["train"]["ema"] and config["train"]["iterations"] is None
    other = printed("--data.root", "cells", "--model.name", "refinedet320_vgg16", "--train.iterations", "5")
    assert other["model"]["name"] == "refinedet320_vgg16" and other["model"]["backbone_weights"] is None
    assert other["optim"]["optimizer"] == "adamw"
    assert other["train"]["iterations"] == 5 and other["train"]["epochs"] is None
    named = printed("--config", "refinedet320_vgg16_voc07", "--data.root", "voc")
    assert named["optim"]["optimizer"] == "sgd" and named["train"]["ema"] is None


def test_a_run_that_goes_on_has_its_own_configuration(printed, tmp_path, capsys):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    assert main(["train", "--train.resume", str(run)]) == 2
    assert f"train.resume: no config.yaml in {run}" in capsys.readouterr().err
    (run / "config.yaml").write_text("optim: {lr: 0.25}\ntrain: {epochs: 7}\noutput: elsewhere\n")
    (run / "checkpoints/last.ckpt").touch()
    for words in (["--train.resume", str(run)], [f"--train.resume={run / 'checkpoints/last.ckpt'}"]):
        config = printed(*words, "--data.workers", "0")
        assert config["optim"]["lr"] == 0.25 and config["train"]["epochs"] == 7 and config["data"]["workers"] == 0
        assert config["output"] is None and config["optim"]["optimizer"] == "sgd"
    assert main(["train", "--train.resume", str(tmp_path / "none")]) == 2
    assert "train.resume: no file" in capsys.readouterr().err
