"""An explanation of one image file, on disk: `refinedet explain`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ..data.checks import Orientation
from ..devices import resolve_device
from ..folders import check_folder, make_folder
from ..inference.images import load_image
from ..weights import load_model
from .drawing import write_pictures
from .explanation import Explanation, explain

NUMBERS = "explain.json"


def explain_file(
    image: str | os.PathLike[str],
    weights: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    score_threshold: float = 0.5,
    objects: int = 6,
    input_size: int | None = None,
    device: str = "cpu",
    orientation: Orientation = "auto",
) -> tuple[Explanation, list[Path]]:
    """Explain what a model file finds in an image, and write it: pictures, and the numbers as `explain.json`.

    image: a file or an http(s) address. weights: a model file. output: a folder with nothing in it, or one that can be
    made. The others as `explain` and `Predictor`. Returns the explanation and the files.

    ValueError, FileNotFoundError or OSError for what does not fit, before anything is written.
    """
    where = resolve_device(device)
    folder = check_folder(output)
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"output: expected a folder with nothing in it, {folder} has files")
    pixels = load_image(image, orientation)
    checkpoint = load_model(weights, device=where)
    explanation = explain(
        checkpoint.model,
        pixels,
        checkpoint.class_names,
        score_threshold=score_threshold,
        objects=objects,
        input_size=input_size,
    )
    spec = checkpoint.model.spec
    assert spec is not None  # of every model that comes from a file
    content = {"image": str(image), "weights": str(weights), "model": spec.name, **explanation.to_dict()}
    make_folder(folder)
    written = write_pictures(explanation, folder)
    numbers = folder / NUMBERS
    numbers.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="utf-8")
    return explanation, [*written, numbers]
