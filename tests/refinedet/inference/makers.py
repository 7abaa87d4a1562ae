"""Small videos, and a camera, for the tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

import refinedet

NAMES = ["red", "white", "platelet"]


def save_small_model(folder: Path) -> Path:
    """A small model that finds something in any image, five boxes at most."""
    torch.manual_seed(0)
    options = {"input_size": 64, "tcb_channels": 16, "nms": {"keep_top_k": 5, "iou_threshold": 0.3}}
    model = refinedet.create_model("refinedet192_small", 4, **options)
    with torch.no_grad():  # statistics for the batch norms, so that the scores are not all 0 or 1
        for _ in range(20):
            model(torch.randn(4, 3, 64, 64) * 50)
    return refinedet.save_model(model, folder / "m.safetensors", class_names=NAMES)


def write_video(path: Path, frames: int = 6, size: tuple[int, int] = (64, 48), rate: float = 10.0) -> Path:
    """An AVI whose frame i is grey of the value 20 * i, modulo 256."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, size)
    assert writer.isOpened()
    for i in range(frames):
        writer.write(np.full((size[1], size[0], 3), 20 * i % 256, np.uint8))
    writer.release()
    return path


class Camera:
    """In the place of cv2.VideoCapture: gives some frames, then what is put into `end` (nothing more, or an error)."""

    frames = 4
    end: type[BaseException] | None = None
    released = 0

    def __init__(self, number: int) -> None:
        self.number, self.given = number, 0

    def isOpened(self) -> bool:
        return self.number == 0

    def read(self):
        if self.given == self.frames:
            if self.end is not None:
                raise self.end
            return False, None
        self.given += 1
        return True, np.full((48, 64, 3), 20 * self.given, np.uint8)

    def get(self, what: int) -> float:
        return 0.0

    def set(self, what: int, value: float) -> bool:
        return True

    def release(self) -> None:
        type(self).released += 1
