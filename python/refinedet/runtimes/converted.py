"""Model files as ONNX graphs, converted once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refinedet_ext import __version__

from ..extras import install_command
from ..model_info import VERSION

logger = logging.getLogger(__name__)

NEEDED = ("torch", "safetensors", "onnx", "onnxscript")
GRAPH, DIGEST = "model.onnx", "sha256"
CHUNK = 2**20


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/refinedet-ext, by default in ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "refinedet-ext"


def converted(weights: Path, *, input_size: int | None = None, options: Mapping[str, Any]) -> Path:
    """The ONNX file of a model file: any number of images in a call, raw outputs.

    input_size: side of the input; None is the model's own. options: changes to the model's, as for `load_model`.

    The file is named by the hashes of the model file, of the options and of this package's version. It is converted
    when it is not there, or not as it was written, which needs torch, onnx and onnxscript: ImportError without them.
    Else errors of `load_model` and `export_onnx`, and OSError where the folder cannot be written.
    """
    about = json.dumps([VERSION, __version__, input_size, dict(options)], sort_keys=True, default=str)
    key = hashlib.sha256((digest(weights) + about).encode()).hexdigest()[:32]
    folder = cache_folder() / key
    if folder.exists():
        if _is_whole(folder):
            return folder / GRAPH
        logger.warning("%s is not as it was written, %s is converted once more", folder / GRAPH, weights)
        shutil.rmtree(folder)
    logger.info("%s is converted to ONNX, into %s", weights, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder.parent) as partial:
        made = Path(partial) / key
        made.mkdir()
        _convert(weights, made / GRAPH, input_size, options)
        (made / DIGEST).write_text(digest(made / GRAPH), encoding="ascii")
        try:
            os.rename(made, folder)  # whole or not at all
        except OSError:
            if not _is_whole(folder):  # where it is, another process was quicker
                raise
    return folder / GRAPH


def _convert(weights: Path, graph: Path, input_size: int | None, options: Mapping[str, Any]) -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"weights: {weights} is to be converted to ONNX once, which needs {', '.join(missing)}, not installed: "
            f"{install_command(*missing)}"
        )
    from torch.onnx import OnnxExporterError

    from .. import export as exports
    from ..weights import load_model

    checkpoint = load_model(weights, **options)
    try:
        exports.export_onnx(
            checkpoint.model,
            graph,
            class_names=checkpoint.class_names,
            input_size=input_size,
            batch_size=2,
            dynamic_batch=True,
        )
    except (NotImplementedError, OnnxExporterError) as error:
        raise ValueError(f"weights: {weights} cannot be written as ONNX: {error}; runtime torch runs it") from error


def _is_whole(folder: Path) -> bool:
    try:
        return (folder / DIGEST).read_text(encoding="ascii") == digest(folder / GRAPH)
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def digest(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()
