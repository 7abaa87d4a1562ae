"""examples/cpp/detect_image on a package that `refinedet export --aot true` compiled, without Python in its process."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import refinedet
from refinedet.cli import main
from refinedet_ext import _library

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "build/editable/examples/cpp/detect_image"  # `make test-cpp` builds it where OpenCV's headers are

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM.exists(), reason="detect_image is not built: make test-cpp, with OpenCV's headers"),
]


@pytest.fixture(scope="module")
def package(weights, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("package") / "model.pt2"
    assert main(["export", "--weights", str(weights), "--output", str(path), "--aot", "true"]) == 0
    return path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(PROGRAM), *map(str, arguments)], capture_output=True, text=True, timeout=100)


def test_finds_what_the_predictor_finds(package, weights, photo):
    done = run(package, _library.PATH, photo, 0)
    assert done.returncode == 0, done.stderr
    found = refinedet.Predictor.from_file(weights)(photo, score_threshold=0.0)
    lines = [line.split(maxsplit=5) for line in done.stdout.splitlines()]
    assert len(lines) == len(found) == 5
    assert [line[5] for line in lines] == found.names
    for line, box, score in zip(lines, found.boxes, found.scores, strict=True):
        assert [float(number) for number in line[:4]] == pytest.approx(box.tolist(), abs=0.05)
        assert float(line[4]) == pytest.approx(float(score), abs=2e-4)


def test_the_threshold_leaves_out(package, photo):
    assert run(package, _library.PATH, photo, 1.1).stdout == ""


def test_errors_in_words(package, photo, tmp_path):
    for arguments, status, message in (
        ((package, _library.PATH), 2, "usage: "),
        ((package, _library.PATH, tmp_path / "no.jpg"), 1, "no such file, or no image"),
        ((package, tmp_path / "no.so", photo), 1, "no.so"),
        ((tmp_path / "no.pt2", _library.PATH, photo), 1, "no.pt2: no such file"),
        ((photo, _library.PATH, photo), 1, "detect_image: "),
    ):
        done = run(*arguments)
        assert done.returncode == status and message in done.stderr, done.stderr


def test_no_python_in_the_process():
    linked = subprocess.run(["ldd", str(PROGRAM)], capture_output=True, text=True, check=True).stdout
    libraries = [line.split()[0] for line in linked.splitlines()]
    assert "libtorch_cpu.so" in libraries
    assert not [name for name in libraries if "python" in name]
