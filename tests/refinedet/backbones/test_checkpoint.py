from __future__ import annotations

import io

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from refinedet.backbones.checkpoint import load_strict, read_state_dict


class Opaque:
    """What a pickle may hide code in."""


@pytest.fixture
def state():
    return {"weight": torch.randn(3, 2), "bias": torch.zeros(3)}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_reads_torch_and_safetensors_files(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "b.pth")
    torch.save({"model": state, "epoch": 3}, tmp_path / "e.pth")
    torch.save(state, tmp_path / "c.pth", _use_new_zipfile_serialization=False)  # as files of 2018 are
    save_file(state, tmp_path / "d.safetensors")
    for name in ("a.pth", "b.pth", "c.pth", "d.safetensors", "e.pth"):
        assert same(read_state_dict(tmp_path / name), state)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights: no file .*none.pth"):
        read_state_dict(tmp_path / "none.pth")


@pytest.mark.parametrize("name", ["junk.pth", "junk.safetensors", "empty.pth"])
def test_other_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"" if "empty" in name else b"not weights at all, but long enough to be read")
    with pytest.raises(ValueError, match=f"weights: .*{name} is not a"):
        read_state_dict(tmp_path / name)


def test_a_file_that_needs_code_is_refused(tmp_path):
    torch.save({"a": Opaque()}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match="weights: .*code.pth is not a file of plain tensors"):
        read_state_dict(tmp_path / "code.pth")


def test_values_that_are_no_tensors_are_named(tmp_path):
    torch.save({"weight": torch.zeros(1), "epoch": 3}, tmp_path / "mixed.pth")
    with pytest.raises(ValueError, match="expected only tensors with names in .*mixed.pth, but not: epoch"):
        read_state_dict(tmp_path / "mixed.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="expected a dict of tensors in .*list.pth"):
        read_state_dict(tmp_path / "list.pth")


def test_load_strict_copies_what_fits(state):
    layer = nn.Linear(2, 3)
    load_strict(layer, state, source="here")
    assert same(layer.state_dict(), state)


def test_load_strict_names_every_kind_of_mismatch(state):
    layer = nn.Linear(2, 3)
    before = {key: value.clone() for key, value in layer.state_dict().items()}
    wrong = {"weight": torch.zeros(3, 5), "extra": torch.zeros(1)}
    with pytest.raises(ValueError) as error:
        load_strict(layer, wrong, source="here.pth")
    assert str(error.value) == (
        "weights: here.pth does not fit Linear; missing: bias; unexpected: extra; "
        "shapes differ: weight (expected (3, 2), got (3, 5))"
    )
    assert same(layer.state_dict(), before)


def test_long_lists_of_keys_are_cut(state):
    with pytest.raises(ValueError, match="unexpected: k0, k1, .* and 12 more"):
        load_strict(nn.Linear(2, 3), {**state, **{f"k{i}": torch.zeros(1) for i in range(20)}}, source="x")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")  # which is what was damaged
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zipped=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    kept=st.floats(0, 1),
)
def test_a_damaged_file_is_refused_or_read(tmp_path, zipped, changes, kept):
    content = io.BytesIO()
    torch.save({"weight": torch.ones(3, 2)}, content, _use_new_zipfile_serialization=zipped)
    data = bytearray(content.getvalue())
    for place, value in changes:
        data[place % len(data)] = value
    file = tmp_path / "m.pth"
    file.write_bytes(bytes(data[: round(kept * len(data))]))
    try:
        read_state_dict(file)
    except ValueError as error:
        assert str(error).startswith("weights: ")
