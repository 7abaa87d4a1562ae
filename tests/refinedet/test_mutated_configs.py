"""Mutated and hostile configurations end in a named error, or in keys and values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings

from refinedet.cli import main
from refinedet.config_files import CONFIGS, dump_config, load_config, parse_config
from refinedet.strict_yaml import MAX_NODES

from .mutations import EDITS, Edits, edited


def test_mutated_configurations(tmp_path: Path) -> None:
    path, good = tmp_path / "mine.yaml", (CONFIGS / "own_data.yaml").read_bytes()

    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(EDITS)
    def check(edits: Edits) -> None:
        path.write_bytes(edited(good, edits))
        try:
            content = load_config(path)
        except (ValueError, FileNotFoundError) as error:
            assert str(path) in str(error) and len(str(error)) < 2000
            return
        assert parse_config(dump_config(content), "again").keys() == content.keys()

    check()


def nested(join: str) -> str:
    """Ten times the mapping before, eleven times."""
    lines = ["a0: &a0 {x: 1}"]
    return "\n".join(lines + [f"a{i}: &a{i} {join.format(','.join([f'*a{i - 1}'] * 10))}" for i in range(1, 12)])


HOSTILE = {
    "aliases": (nested("[{}]"), f"more than {MAX_NODES:,} values, aliases written out"),
    "merged aliases": (nested("{{<<: [{}]}}"), f"more than {MAX_NODES:,} values, aliases written out"),
    "itself": ("a: &a [*a]", "something that contains itself"),
    "depth": ("a: " + "{a: " * 100 + "1" + "}" * 100, "more than 50 levels"),
    "great depth": ("[" * 100_000, "maximum recursion depth exceeded"),
    "a decimal": ("a: " + "9" * 5000, "a whole number of 5000 digits"),
    "a hexadecimal": ("a: 0x" + "f" * 5000, "a whole number of 5002 digits"),
    "sixties": ("a: 1" + ":1" * 5000, "a whole number of 10001 digits"),
    "a list for a key": ("? [a]\n: 1", "unhashable key"),
    "python": ("a: !!python/object/apply:os.getpid []", "could not determine a constructor"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_configurations(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, message = HOSTILE[name]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert main(["train", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert f"config: {path} is not YAML" in error and message in error and len(error) < 1000


def test_huge_configurations_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: 1\n")
    os.truncate(path, 2**40)  # without taking the room
    with pytest.raises(ValueError, match=r"at most 1,000,000 characters in \S+mine.yaml, got 1,099,511,627,776 bytes"):
        load_config(path)
    path.write_text("#" * 1_000_001)
    with pytest.raises(ValueError, match=r"at most 1,000,000 characters in \S+mine.yaml, got 1,000,001"):
        load_config(path)


def test_many_keys_and_plain_aliases_are_fine() -> None:
    text = "".join(f"k{i}: 1\n" for i in range(20_000))
    assert len(parse_config(text, "here")) == 20_000
    assert parse_config("a: &a {b: [1, 2]}\nc: *a\nd: {<<: *a, e: 3}\n", "here") == {
        "a": {"b": [1, 2]},
        "c": {"b": [1, 2]},
        "d": {"b": [1, 2], "e": 3},
    }
