"""The folder in which the commands and the code of a page run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docs/README.md promises: cells/, photos/, photo.jpg, best.safetensors, runs/train/best.safetensors."""
    import torch

    import refinedet
    from refinedet.data.shapes import SHAPE_CLASSES
    from refinedet.data.synthetic import render_dataset

    root = tmp_path_factory.mktemp("world")
    names = list(SHAPE_CLASSES[:3])
    render_dataset(root / "cells", train=20, test=4, classes=names)
    render_dataset(root / "more", train=0, test=4, seed=1, classes=names)
    (root / "more/test").rename(root / "cells/val")
    (root / "more/annotations/test.json").rename(root / "cells/annotations/val.json")
    shutil.rmtree(root / "more")
    shutil.copytree(root / "cells/test", root / "photos")
    shutil.copy(next((root / "photos").glob("*.jpg")), root / "photo.jpg")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = refinedet.create_model("refinedet192_small", 4, input_size=64, tcb_channels=16).eval()
    refinedet.save_model(model, root / "best.safetensors", class_names=names)
    (root / "runs/train").mkdir(parents=True)
    shutil.copy(root / "best.safetensors", root / "runs/train")
    return root


@pytest.fixture
def world(_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the page's own, as the working folder, with a cache and models of its own."""
    import torch

    from refinedet.detectors.registration import ENTRIES

    folder = tmp_path / "page"
    shutil.copytree(_world, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    registered, loaded = dict(ENTRIES), set(sys.modules)
    threads = torch.get_num_threads()  # which some commands set
    yield folder
    torch.set_num_threads(threads)
    for name in set(ENTRIES) - set(registered):
        del ENTRIES[name]
    for name in set(sys.modules) - loaded:  # files of the page that a command imported
        if Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(folder):
            del sys.modules[name]
