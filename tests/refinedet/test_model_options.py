"""An option that both stages shared before each had its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import refinedet
from refinedet.engine import ModelConfig
from refinedet.engine.checkpoints import RUN
from refinedet.engine.resume import PARTS, read_checkpoint
from refinedet.fine_tuning import check_agrees
from refinedet.model_options import present_options

NOW = {"arm_negative_ratio": 2.0, "odm_negative_ratio": 2.0}


def test_it_becomes_that_of_each_stage() -> None:
    assert present_options({"theta": 1.0, "negative_ratio": 2.0}) == {"theta": 1.0, **NOW}
    given = {"arm_negative_ratio": 1.0}
    assert present_options(given) == given and present_options(given) is not given
    assert ModelConfig(options={"negative_ratio": 2.0}).options == NOW
    loss = refinedet.create_model("padet192_small", 2, decoder_channels=8, negative_ratio=2.0).config.loss
    assert (loss.arm_negative_ratio, loss.odm_negative_ratio) == (2, 2)


def test_beside_its_own_parts_it_is_refused() -> None:
    with pytest.raises(ValueError, match="negative_ratio: expected nothing beside arm_negative_ratio"):
        present_options({"negative_ratio": 2.0, "arm_negative_ratio": 1.0})


def test_a_loaded_model_takes_another(tmp_path: Path) -> None:
    model = refinedet.create_model("refinedet192_small", 2, tcb_channels=8, negative_ratio=2.0)
    path = refinedet.save_model(model, tmp_path / "m.safetensors")
    check_agrees(path, None, ModelConfig(options={"negative_ratio": 3.0}).options)
    loss = refinedet.load_model(path, negative_ratio=3.0).model.config.loss
    assert (loss.arm_negative_ratio, loss.odm_negative_ratio) == (3, 3)


def test_a_checkpoint_from_before(tmp_path: Path) -> None:
    content: dict[str, object] = {}
    for part, kind in PARTS.items():
        *outer, last = part.split(".")
        inner = content
        for key in outer:
            inner = inner.setdefault(key, {})
        inner[last] = kind()
    content[RUN] |= {
        "class_names": ["cell"],
        "model": {"name": "padet192_small", "options": {"negative_ratio": 2.0}},
        "config": {"model": {"name": "padet192_small", "options": {"negative_ratio": 2.0}}, "data": {"batch_size": 2}},
    }
    torch.save(content, tmp_path / "last.ckpt")
    found = read_checkpoint(str(tmp_path / "last.ckpt")).run
    assert found["model"]["options"] == NOW
