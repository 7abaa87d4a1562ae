"""Mutated model files, and those whose header asks for too much, end in a named error or in a whole model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import refinedet
from refinedet.backbones.backbone_file import Origin, save_backbone
from refinedet.backbones.checkpoint import read_state_dict
from refinedet.fine_tuning import file_spec, start_from
from refinedet.weights import read_header

from .mutations import EDITS, Edits, edited

NAME, OPTIONS = "refinedet192_small", {"input_size": 64, "tcb_channels": 16}
NAMES = ["red", "white", "platelet"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = refinedet.create_model(NAME, 4, **OPTIONS)
    return refinedet.save_model(model, tmp_path_factory.mktemp("model") / "whole.safetensors", class_names=NAMES)


def mutated(good: bytes, edits: Edits, in_header: bool) -> bytes:
    """Edits within the header, whose length is put right, or anywhere."""
    if not in_header:
        return edited(good, edits)
    length = int.from_bytes(good[:8], "little")
    header = edited(good[8 : 8 + length], edits)
    return len(header).to_bytes(8, "little") + header + good[8 + length :]


def test_mutated_model_files(file: Path, tmp_path: Path) -> None:
    path, good = tmp_path / "m.safetensors", file.read_bytes()

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(EDITS, st.integers(0, 3).map(bool))
    def check(edits: Edits, in_header: bool) -> None:
        path.write_bytes(mutated(good, edits, in_header))
        for read in (refinedet.load_model, lambda name: start_from(name, ["red", "new"], name=NAME, options=OPTIONS)):
            try:
                found = read(path)
            except ValueError as error:
                assert str(path) in str(error) and len(str(error)) < 10_000
            else:
                assert all(torch.isfinite(value).all() for value in found.model.parameters())

    check()


JUNK = [None, True, 0, -1, 3, 10**6, 10**9, 10**400, float("nan"), "", "\ud800", [], [1], [[1]], {}, {"a": 1}]
JUNK += [[10**9] * 4, [[2.0] * 50] * 4, "coco"]
PLACES = [
    *[("model", "options", name) for name in refinedet.model_entry(NAME).options],
    *[("model", "options", name) for name in ("backbone_weights", "name", "self")],
    *[("model", name) for name in ("name", "num_classes", "options")],
    *[(name,) for name in ("format", "version", "model", "class_names", "info", "registered_by")],
]


def test_values_of_a_header(file: Path, tmp_path: Path) -> None:
    path, tensors, header = tmp_path / "m.safetensors", load_file(file), read_header(file)

    @settings(derandomize=True, deadline=None, max_examples=250)
    @given(st.sampled_from(PLACES), st.sampled_from(JUNK))
    def check(place: tuple[str, ...], value: Any) -> None:
        changed = json.loads(json.dumps(header))
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        save_file(tensors, path, metadata={"refinedet": json.dumps(changed)})
        for read in (refinedet.load_model, lambda name: start_from(name, NAMES, name=NAME)):
            try:
                read(path)
            except ValueError as error:
                assert str(path) in str(error)

    check()


def rewrite(file: Path, path: Path, **options: Any) -> Path:
    header = read_header(file)
    header["model"]["options"].update(options)
    save_file(load_file(file), path, metadata={"refinedet": json.dumps(header)})
    return path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tcb_channels": 10**6}, "does not fit RefineDet; shapes differ: "),
        ({"tcb_channels": 10**9}, "cannot be built: Storage size calculation overflowed"),
        ({"anchor_ratios": [2.0] * 100_000}, "does not fit RefineDet; shapes differ: "),
        ({"input_size": 10**9}, "describes a model that cannot be built: input_size: expected an integer of at most"),
        ({"backbone_weights": "other.pth"}, f"cannot be built: {NAME} has no option 'backbone_weights'"),
        ({"anchor_offset": float("nan")}, "cannot be built: anchor_offset: expected a number from -1 to 1, got nan"),
        ({"use_tcb": "yes"}, "cannot be built: use_tcb: expected one of .True, False., got 'yes'"),
        ({"class_weights": [1.0]}, "cannot be built: class_weights: expected 3 numbers"),
    ],
)
def test_options_that_ask_for_too_much(file: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    path = rewrite(file, tmp_path / "m.safetensors", **options)
    for read in (refinedet.load_model, lambda name: start_from(name, NAMES, name=NAME)):
        with pytest.raises(ValueError, match=f"weights: {path} .*{message}"):
            read(path)


def test_class_names_that_are_no_list(file: Path, tmp_path: Path) -> None:
    header = read_header(file) | {"class_names": {"a": 1, "b": 2, "c": 3}}
    save_file(load_file(file), tmp_path / "m.safetensors", metadata={"refinedet": json.dumps(header)})
    with pytest.raises(ValueError, match="class_names: expected a list of names, got {'a': 1"):
        read_header(tmp_path / "m.safetensors")


def test_integers_in_the_place_of_weights(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    good = file.read_bytes()
    path.write_bytes(good.replace(b'"F32"', b'"I32"', 1))
    for read in (refinedet.load_model, lambda name: start_from(name, NAMES, name=NAME)):
        with pytest.raises(ValueError, match=r"dtypes differ: \S+ \(expected torch.float32, got torch.int32\)"):
            read(path)


def test_a_header_of_something_else(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file(load_file(file), path, metadata={"refinedet": json.dumps({"format": "other"})})
    with pytest.raises(ValueError, match="was not written by refinedet.save_model"):
        file_spec(path)


def test_training_does_not_start_from_nan(file: Path, tmp_path: Path) -> None:
    tensors = load_file(file)
    tensors["odm.cls.0.weight"][0] = float("nan")
    save_file(tensors, tmp_path / "plain.safetensors")
    with pytest.raises(ValueError, match="model.weights: .*plain.safetensors: expected finite weights"):
        start_from(tmp_path / "plain.safetensors", NAMES, name=NAME, options=OPTIONS)


def test_a_flipped_bit_of_a_torch_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "m.pth"
    torch.save({"weight": torch.ones(1000)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(torch.ones(8).numpy().tobytes()) + 1] ^= 1
    path.write_bytes(bytes(data))
    assert not torch.equal(torch.load(path)["weight"], torch.ones(1000))  # torch says nothing
    with pytest.raises(ValueError, match=r"weights: \S+m.pth is cut off or damaged: the checksum of m/data/0 in it"):
        read_state_dict(path)


BACKBONE = {
    "source": "mine",
    "options": {"pixel_mean": [1.0, 2.0, 3.0], "channel_order": "rgb"},
}


def test_mutated_backbone_files(tmp_path: Path) -> None:
    backbone = refinedet.create_model(NAME, 2, **OPTIONS).backbone
    whole = save_backbone(backbone.state_dict(), tmp_path / "b.safetensors", Origin(**BACKBONE))
    good, path = whole.read_bytes(), tmp_path / "m.safetensors"

    @settings(derandomize=True, deadline=None, max_examples=100)
    @given(EDITS)
    def check(edits: Edits) -> None:
        path.write_bytes(mutated(good, edits, in_header=True))
        try:
            refinedet.create_model(NAME, 2, backbone_weights=path, **OPTIONS)
        except ValueError as error:
            assert str(path) in str(error)

    check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tcb_channels": 10**9}, "sets tcb_channels, which is none of the options that weights expect"),
        ({"pixel_mean": "x"}, "pixel_mean: expected 3 finite numbers, got 'x'"),
    ],
)
def test_what_a_backbone_file_may_set(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    backbone = refinedet.create_model(NAME, 2, **OPTIONS).backbone
    path = save_backbone(backbone.state_dict(), tmp_path / "b.safetensors", Origin("mine", options))
    with pytest.raises(ValueError, match=f"{path}.* {message}"):
        refinedet.create_model(NAME, 2, backbone_weights=path)
