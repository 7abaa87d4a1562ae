from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from refinedet.classification.config import BackboneConfig, FolderConfig, PretrainConfig
from refinedet.data.image_io import write_image
from refinedet.engine import OptimConfig, TrainConfig

CLASSES = {"blue": (200, 60, 60), "green": (60, 200, 60), "red": (60, 60, 200)}
COUNTS = {"train": 8, "val": 3}


def render_folder(root: Path) -> Path:
    """Noise of three colors in images of many sizes, in ImageNet's layout."""
    rng = np.random.default_rng(0)
    for part, count in COUNTS.items():
        for name, color in CLASSES.items():
            folder = root / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = rng.integers(36, 72, 2)
                pixels = rng.normal(color, 50, (height, width, 3))
                write_image(folder / f"{number}.png", pixels.clip(0, 255).astype(np.uint8))
    return root


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_folder(tmp_path_factory.mktemp("classes"))


@pytest.fixture
def config(images: Path, tmp_path: Path) -> PretrainConfig:
    """A run of a few seconds: four steps an epoch at 64 pixels."""
    return PretrainConfig(
        model=BackboneConfig("refinedet192_small", {"tcb_channels": 16}),
        data=FolderConfig(root=str(images), size=64, batch_size=6, workers=0),
        optim=OptimConfig(optimizer="adamw", lr=0.003, schedule="cosine", warmup_iterations=2),
        train=TrainConfig(epochs=3, accelerator="cpu", devices=1, loggers=[]),
        output=str(tmp_path / "run"),
    )
