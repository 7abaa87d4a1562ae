"""Programs of torch.export, in torch, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

import refinedet_ext  # noqa: F401  (brings the ops that the program calls)

from ..model_info import KEY, ModelInfo
from .session import cannot_run, not_ours, output_names

NAME = "torch"


class TorchSession:
    """A *.pt2 file in torch; see `Session`.

    threads: of all of torch in this process; None leaves them. ValueError where the file cannot be run, naming it.
    """

    def __init__(self, path: Path, *, threads: int | None = None, precision: str = "float32") -> None:
        if precision != "float32":
            raise ValueError(f"optimize: {path} is run as it is, expected off or float32, got {precision}")
        extra = {KEY: ""}
        try:
            program = torch.export.load(path, extra_files=extra)
        except (RuntimeError, ValueError, KeyError, BadZipFile) as error:
            raise cannot_run(NAME, path, error) from None
        if not extra[KEY]:
            raise not_ours(path)
        text = extra[KEY]
        self.info = ModelInfo.from_json(
            text.decode("utf-8") if isinstance(text, bytes) else text, source=f"weights: {path}"
        )
        if threads is not None:
            torch.set_num_threads(threads)
        self._run = program.module()
        self._names = output_names(self.info)
        self.runtime, self.precision = f"{NAME} {torch.__version__}", precision

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> Mapping[str, np.ndarray]:
        outputs = self._run(torch.from_numpy(images))
        return {name: value.numpy() for name, value in zip(self._names, outputs, strict=True)}
