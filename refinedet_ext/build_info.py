"""What this build is and what it uses on this machine."""

from __future__ import annotations

import ctypes
import importlib.util
from typing import Any

_LEVELS = ("baseline", "avx2", "avx512")


def build_info() -> dict[str, Any]:
    """Version, compiler, torch target, CPU level in use, CUDA or not; for bug reports and tests.

    Works without torch.

    Returns:
        A dictionary with the keys

        - ``version`` of this package, and its ``compiler``
        - ``cpu_level``: "baseline", "avx2" or "avx512", the kernels in use, chosen by the machine or by the environment
          variable REFINEDET_EXT_CPU_LEVEL
        - ``numpy_ops``: whether the compiled NumPy face is there
        - ``torch_ops``: whether the compiled torch ops are loaded
        - ``torch_target``, the oldest torch that they serve, and ``torch_built_with``
        - ``torch``, the one running; None without torch
        - ``cuda``: whether CUDA kernels were built in

    Example:
        >>> build_info()["torch_target"]
        '2.11'
    """
    from . import __version__
    from .numpy._arrays import _numpy_ops

    info: dict[str, Any] = {
        "version": __version__,
        "compiler": getattr(_numpy_ops, "compiler", None),
        "cpu_level": None if _numpy_ops is None else _numpy_ops.cpu_level(),
        "numpy_ops": _numpy_ops is not None,
        "torch_ops": False,
        "torch_target": None,
        "torch_built_with": None,
        "torch": None,
        "cuda": False,
    }
    if importlib.util.find_spec("torch") is None:
        return info
    import torch

    from . import _library

    info["torch"] = torch.__version__
    if _library.available():
        library = ctypes.CDLL(str(_library.PATH))
        info["torch_ops"] = True
        for key in ("compiler", "torch_target", "torch_built_with"):
            function = getattr(library, f"refinedet_ext_{key}")
            function.restype = ctypes.c_char_p
            info[key] = function().decode()
        info["cpu_level"] = _LEVELS[torch.ops.refinedet_ext._cpu_level()]
        info["cuda"] = bool(torch.ops.refinedet_ext._has_cuda())
    return info
