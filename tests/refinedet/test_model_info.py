from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest

from refinedet.model_info import VERSION, ModelInfo
from refinedet.nms_config import NMS_PRESETS

INFO = ModelInfo(
    model="refinedet192_small",
    options={"theta": 0.95, "anchor_sizes": [16, 32]},
    classes=("Zelle", "細胞"),
    input_size=(64, 96),
    batch=None,
    pixels="float32",
    pixel_mean=(104.0, 117.0, 123.0),
    pixel_std=(1.0, 1.0, 1.0),
    channel_order="bgr",
    outputs="raw",
    theta=0.95,
    variances=(0.1, 0.1, 0.2, 0.2),
    two_step=True,
    nms=NMS_PRESETS["coco"],
    precision="float32",
    package_version="0.1.0",
)


def changed(**changes):
    content = {**json.loads(INFO.to_json()), **changes}
    return json.dumps({key: value for key, value in content.items() if value is not ...})


def test_json_goes_round():
    text = INFO.to_json()
    assert text.isascii() and "\n" not in text
    assert ModelInfo.from_json(text, source="model.onnx") == INFO
    assert INFO.num_classes == 3


def test_it_needs_no_torch():
    code = "import sys, refinedet.model_info\nassert not {'torch', 'cv2', 'lightning'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": VERSION + 1, "colour": 1}, rf"version: this package reads up to {VERSION}, got {VERSION + 1}"),
        ({"version": 0}, "version: expected an integer of at least 1, got 0"),
        ({"version": True}, "version: expected an integer of at least 1, got True"),
        ({"colour": 1}, r"unknown \['colour'\]"),
        ({"theta": ...}, r"missing \['theta'\]"),
        ({"model": ""}, "model: expected text, got ''"),
        ({"model": "\ud800"}, "model: expected text"),
        ({"options": []}, r"options: expected a mapping, got \[\]"),
        ({"classes": "RBC"}, "classes: expected names, got 'RBC'"),
        ({"classes": []}, "classes: expected at least one name, got none"),
        ({"classes": ["a", "a"]}, "classes: expected distinct names, got 'a' twice"),
        ({"classes": ["a", 1]}, "classes: expected names, got 1"),
        ({"input_size": 64}, "input_size: expected 2 positive numbers, got 64"),
        ({"input_size": [64, 1e9]}, "input_size: expected an integer of at least 1, got 1000000000.0"),
        ({"input_size": [64, 10**9]}, "input_size: expected an integer of at most 16384, got 1000000000"),
        ({"batch": 0}, "batch: expected an integer of at least 1, got 0"),
        ({"pixels": "float64"}, r"pixels: expected one of \['uint8', 'float32'\], got 'float64'"),
        ({"pixels": []}, "pixels: expected one of"),
        ({"pixel_mean": [1, 2]}, r"pixel_mean: expected 3 finite numbers, got \[1, 2\]"),
        ({"pixel_std": [1, 0, 1]}, r"pixel_std: expected 3 positive numbers, got \[1, 0, 1\]"),
        ({"channel_order": "gbr"}, "channel_order: expected one of"),
        ({"outputs": None}, "outputs: expected one of"),
        ({"theta": 1.5}, "theta: expected a number from 0 to 1, got 1.5"),
        ({"theta": "0.5"}, "theta: expected a number from 0 to 1, got '0.5'"),
        ({"variances": [0.1, 0.1, 0.2]}, "variances: expected 4 positive numbers"),
        ({"two_step": 1}, "two_step: expected true or false, got 1"),
        ({"nms": "coco"}, "nms: expected keys and values, got 'coco'"),
        ({"nms": {"top_k": 5}}, r"nms fields: .*missing \['score_threshold'"),
        ({"nms": {**dataclasses.asdict(NMS_PRESETS["code"]), "sigma": 10**400}}, "nms sigma: expected a positive"),
        ({"nms": {**dataclasses.asdict(NMS_PRESETS["code"]), "method": {}}}, "nms method: expected one of"),
        ({"precision": "int4"}, "precision: expected one of"),
        ({"package_version": 1}, "package_version: expected text, got 1"),
    ],
)
def test_what_does_not_hold_is_named(changes, message):
    with pytest.raises(ValueError, match=f"model.onnx: .*{message}"):
        ModelInfo.from_json(changed(**changes), source="model.onnx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", r"expected keys and values, got \[\]"),
        ("null", "expected keys and values, got None"),
        ('{"a": NaN}', "expected finite numbers, got NaN"),
        ('{"version": 1, "version": 1}', "expected every key once, got 'version' twice"),
        ("[" * 100_000, "maximum recursion depth|Expecting value"),
        ('{"version": 1' + "0" * 10_000 + "}", "Exceeds the limit"),
    ],
)
def test_other_text_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        ModelInfo.from_json(text, source="model.onnx")
