"""The benchmark of the data pipeline runs, and knows what is not installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch

from benchmarks import pipeline
from benchmarks.peers import optional


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """The program sets the threads of its process, which here is that of other tests, too."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


def test_it_measures_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "RENDERED", 16)
    monkeypatch.setattr(pipeline, "SIDE", 96)
    file = tmp_path / "pipeline.json"
    pipeline.main(["--sizes", "64", "--workers", "0", "--seconds", "0.2", "--json", str(file)])
    (row,) = json.loads(file.read_text())["rows"]
    rates = row["images_per_second"]
    said = capsys.readouterr().out
    assert rates["refinedet"] > 0 and rates["refinedet as trained"] > 0
    for module, name in (("albumentations", "albumentations"), ("torchvision", "torchvision v2")):
        assert (name in rates) == (optional(module) is not None)
        assert optional(module) is not None or f"{module} missing" in said
