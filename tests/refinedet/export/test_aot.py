"""Compiled packages: what they compute, and what is refused before anything is compiled."""

from __future__ import annotations

import pytest
import torch

import refinedet
from refinedet.cli import main
from refinedet.export import export_aot


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = refinedet.create_model("refinedet192_small", 3, input_size=64, tcb_channels=16, nms={"keep_top_k": 5})
    with torch.no_grad():
        for _ in range(20):
            made(torch.randn(4, 3, 64, 64) * 50)
    return made.eval()


@pytest.mark.slow
def test_a_package_gives_the_detections_of_the_model(model, tmp_path):
    file = tmp_path / "m.pt2"
    found = export_aot(model, file, ["cell", "other cell"])
    assert found.batches == (1,) and found.detections == 5 and list(tmp_path.iterdir()) == [file]
    package = torch._inductor.aoti_load_package(str(file))
    metadata = package.loader.get_metadata()
    assert metadata["class_names"] == "cell\nother cell"
    assert (metadata["input_size"], metadata["batch_size"]) == ("64", "1")
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        expected = model(pixels)
    boxes, scores, labels, count = package(pixels)
    assert count.tolist() == expected.count.tolist() == [5]
    assert labels.tolist() == expected.labels.tolist()
    torch.testing.assert_close(boxes, expected.boxes, atol=1e-4, rtol=0)
    torch.testing.assert_close(scores, expected.scores, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("m.onnx",), r"path: expected a file name that ends in .pt2, got '.*m.onnx'"),
        (("m.pt2", ["one\ntwo", "three"]), "class_names: expected names without line breaks"),
        (("m.pt2", ["one"]), "class_names: expected 2"),
    ],
)
def test_what_does_not_fit_is_refused(model, tmp_path, arguments, message):
    path, *names = arguments
    with pytest.raises(ValueError, match=message):
        export_aot(model, tmp_path / path, *names)
    assert not list(tmp_path.iterdir())


def test_the_command_refuses_what_cannot_be_compiled(model, tmp_path, capsys):
    weights = refinedet.save_model(model, tmp_path / "m.safetensors")
    start = ["export", "--weights", str(weights), "--aot", "true", "--output"]
    assert main([*start, str(tmp_path / "m.onnx")]) == 1
    assert "aot: expected format pt2 with it, got onnx" in capsys.readouterr().err
    assert main([*start, str(tmp_path / "m.pt2"), "--dynamic_batch", "true", "--batch_size", "2"]) == 1
    assert "dynamic_batch: expected false with aot" in capsys.readouterr().err
