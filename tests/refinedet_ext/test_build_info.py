from __future__ import annotations

import subprocess
import sys

import torch

import refinedet_ext as rx


def test_what_it_tells():
    info = rx.build_info()
    assert info["version"] == rx.__version__
    assert info["torch"] == torch.__version__
    assert info["torch_ops"] is info["numpy_ops"] is True
    assert info["torch_target"] == "2.11"
    assert info["cpu_level"] in ("baseline", "avx2", "avx512")
    assert isinstance(info["cuda"], bool) and isinstance(info["compiler"], str)


def test_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import refinedet_ext; info = refinedet_ext.build_info()\n"
        "print(info['torch'], info['torch_ops'], info['numpy_ops'], info['cpu_level'])"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["None", "False", "True", rx.build_info()["cpu_level"]]
