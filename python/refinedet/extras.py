"""The packages that the detectors need, and one message for those that are not installed."""

from __future__ import annotations

import importlib
import shlex
from types import ModuleType

OWN = ("refinedet", "refinedet_ext")
REQUIREMENTS = {
    "torch": "torch>=2.11",
    "lightning": "lightning>=2.4,!=2.6.2,!=2.6.3",
    "cv2": "opencv-python-headless>=4.8",
    "jsonargparse": "jsonargparse[signatures]>=4.35",
    "yaml": "pyyaml>=6",
    "pycocotools": "pycocotools>=2.0.7",
    "matplotlib": "matplotlib>=3.7",
    "tensorboard": "tensorboard>=2.14",
    "safetensors": "safetensors>=0.4",
    "PIL": "pillow>=10",
    "tqdm": "tqdm>=4.60",
    "onnx": "onnx>=1.17",
    "onnxscript": "onnxscript>=0.5",
    "onnxruntime": "onnxruntime>=1.20",
    "openvino": "openvino>=2025.0",
    "nncf": "nncf>=2.14",
}
"""By the name of the module, what pip installs: as in pyproject.toml, which an installed package does not have."""


def install_command(*modules: str) -> str:
    """The command that installs these modules, in versions that the detectors work with."""
    return shlex.join(["pip", "install", *(REQUIREMENTS.get(name, name) for name in modules)])


def explain_missing(error: ModuleNotFoundError, what: str) -> ImportError:
    """The error for a failed import of `what`: names the package to install; our own faults stay as they are."""
    package = (error.name or "").split(".")[0]
    if package in OWN:
        return error
    return ImportError(f"{what} needs the package {package}, which is not installed: {install_command(package)}")


def import_optional(package: str, what: str) -> ModuleType:
    """A package that only `what` needs; ImportError that says how to install it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # it is there, and lacks something itself
            raise
        raise explain_missing(error, what) from None
