from __future__ import annotations

import subprocess
import sys

import pytest

import refinedet
from refinedet.extras import install_command
from refinedet.registry import register_model


def test_patterns_list_models_in_order():
    names = refinedet.list_models("refinedet*")
    assert names == sorted(names)
    assert {"refinedet320_vgg16", "refinedet512_vgg16", "refinedet320_small"} <= set(names)
    assert refinedet.list_models("refinedet*_vgg16") == ["refinedet320_vgg16", "refinedet512_vgg16"]
    assert {"efgrnet320_vgg16", "efgrnet512_vgg16", "efgrnet512_resnet101"} <= set(refinedet.list_models("efgrnet*"))
    assert refinedet.list_models("nothing*") == []


@pytest.mark.parametrize("name", ["refinedet192_small", "refinedet256_small", "refinedet320_small"])
def test_input_size_is_in_the_name(name):
    assert f"refinedet{refinedet.model_entry(name).config.input_size}_small" == name


def test_entries_describe_themselves():
    for name in refinedet.list_models():
        entry = refinedet.model_entry(name)
        assert entry.name == name and entry.description
        assert entry.options["theta"] == 0.99


def test_unknown_model_names_the_closest():
    with pytest.raises(ValueError, match="no model 'refinedet320_vgg'; did you mean 'refinedet320_vgg16'"):
        refinedet.create_model("refinedet320_vgg")


def test_unknown_model_without_a_close_one_lists_all():
    with pytest.raises(ValueError, match="no model 'xyz'; models: .*refinedet320_vgg16"):
        refinedet.create_model("xyz")


def test_unknown_option_is_named():
    with pytest.raises(ValueError, match="refinedet320_small has no option 'thetta'; did you mean 'theta'"):
        refinedet.create_model("refinedet320_small", 4, thetta=0.5)


@pytest.mark.parametrize("num_classes", [1, 0, 2.0, True])
def test_number_of_classes_must_hold_background_and_one_more(num_classes):
    with pytest.raises(ValueError, match="num_classes: expected an integer of at least 2, got"):
        refinedet.create_model("refinedet192_small", num_classes)


def test_options_reach_the_model_and_its_spec():
    model = refinedet.create_model("refinedet192_small", 4, theta=0.9, anchor_sizes=[16, 32, 64, 128])
    assert model.config.theta == 0.9 and model.config.anchor_sizes == (16, 32, 64, 128)
    assert model.spec.name == "refinedet192_small" and model.spec.num_classes == 4
    assert model.spec.options["anchor_sizes"] == [16, 32, 64, 128]
    again = refinedet.create_model(model.spec.name, model.spec.num_classes, **model.spec.options)
    assert again.config == model.config


def test_a_name_registers_once():
    with pytest.raises(ValueError, match="a model 'refinedet320_vgg16' is registered already"):
        register_model("refinedet320_vgg16", refinedet.RefineDetConfig())(lambda config, num_classes: None)


def test_import_is_lazy():
    code = "import sys, refinedet; print('torch' in sys.modules, 'cv2' in sys.modules); refinedet.create_model"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("package", "call"),
    [("torch", "create_model"), ("safetensors", "load_model"), ("safetensors", "list_models()"), ("cv2", "Predictor")],
)
def test_a_missing_package_is_named(package, call):
    code = f"import sys; sys.modules[{package!r}] = None; import refinedet; refinedet.{call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().split("\n")[-1]
    assert done.returncode == 1 and last.startswith("ImportError: refinedet")
    assert f"needs the package {package}, which is not installed: {install_command(package)}" in last


def test_every_exported_name_exists():
    for name in refinedet.__all__:
        assert getattr(refinedet, name).__name__ == name
    assert set(refinedet.__all__) <= set(dir(refinedet))
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = refinedet.nonsense
