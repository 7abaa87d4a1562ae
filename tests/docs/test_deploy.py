"""Every command and example of the pages on deployment, as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

import refinedet
from refinedet.cli import main
from refinedet.data.shapes import SHAPE_CLASSES
from refinedet.data.synthetic import render_dataset

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "deploy_torch": (),
    "deploy_onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "deploy_openvino": ("onnx", "onnxscript", "onnxruntime", "openvino"),
}
"""By page, what its commands need."""


def blocks(page: str) -> list[tuple[str, str]]:
    """(language, text) of the page's blocks, in their order."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(r"```(sh|python)\n(.*?)```", text, flags=re.S)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run(page):
    found = blocks(page)
    assert {language for language, _ in found} == {"sh", "python"}
    assert (DOCS / f"{page}.md").read_text(encoding="utf-8").count("```") == 2 * len(found)
    lines = [line for language, text in found if language == "sh" for line in text.splitlines()]
    assert all(line.startswith("refinedet ") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_they_run(page, tmp_path, monkeypatch, capsys):
    for package in PAGES[page]:
        pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.manual_seed(0)
    model = refinedet.create_model("refinedet192_small", 4, input_size=64, tcb_channels=16).eval()
    names = list(SHAPE_CLASSES[:3])
    refinedet.save_model(model, "best.safetensors", class_names=names)
    render_dataset("cells", train=2, test=2, classes=names)
    shutil.copytree("cells/test", "photos")
    folders = set()
    try:
        for language, text in blocks(page):
            if language == "python":
                exec(compile(text, page, "exec"), {})
                continue
            for line in text.splitlines():
                status = main(shlex.split(line)[1:])
                assert status == 0, (line, capsys.readouterr().err)
                if " predict " in line:
                    folders.add(line.split("--output ")[1])
    finally:
        torch.set_num_threads(threads)
    assert folders and all(Path(folder, "detections.json").is_file() for folder in folders)
