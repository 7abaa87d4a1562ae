from __future__ import annotations

from pathlib import Path

import pytest

from refinedet.data.synthetic import render_dataset
from refinedet.engine import DataConfig, ModelConfig, OptimConfig, RunConfig, SplitConfig, TrainConfig


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in COCO format: 12 images to train on, 4 held out."""
    root = tmp_path_factory.mktemp("rendered")
    render_dataset(root, train=12, test=4, size=128, seed=1)
    return root


@pytest.fixture
def config(rendered: Path, tmp_path: Path) -> RunConfig:
    """A run of a few seconds: three steps an epoch at 64 pixels."""
    return RunConfig(
        model=ModelConfig(name="refinedet192_small", options={"input_size": 64, "tcb_channels": 16}),
        data=DataConfig(
            format="coco",
            root=str(rendered),
            train=SplitConfig(image_dir="train", annotation_file="annotations/train.json"),
            val=SplitConfig(image_dir="test", annotation_file="annotations/test.json"),
            batch_size=4,
            workers=0,
        ),
        optim=OptimConfig(lr=0.002, schedule="cosine", warmup_iterations=2),
        train=TrainConfig(epochs=2, accelerator="cpu", devices=1),
        output=str(tmp_path / "run"),
    )
