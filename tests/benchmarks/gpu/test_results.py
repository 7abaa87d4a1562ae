"""The three files, and a text that fits in what survives of an output."""

from __future__ import annotations

import json
import tarfile

from benchmarks.gpu.results import LENGTH, Results, StepResult

RATES = {"float32": 5e13, "tf32": 4e14}
MACHINE = {
    "key": "the machine",
    "machine": {"gpu": "A GPU", "torch": "2.11", "torchvision": "0.26", "python": "3.12", "date": "2026-01-02"},
    "ceilings": {"copy": 4e12, "products": RATES, "launch": 2.0},
}


def timed(i=0, **changes):
    target = {"text": "3x torchvision", "value": 2.5, "reached": False}
    row = {"key": f"op, forward: case {i}", "op": "op", "case": f"case {i}", "direction": "forward", "unchecked": ""}
    row |= {"ours": {"call": {"median": 20.0}, "graph": {"median": 12.34}}, "megabytes": 1.0, "over_floor": 1.5}
    row |= {"peers": {"torchvision": {"call": {"median": 50.0}}, "absent": None}, "ratios": {"torchvision": 2.5}}
    return {**row, "targets": [target], **changes}


def results(tmp_path, *steps):
    made = Results(tmp_path / "out")
    made.steps += steps
    return made


def test_the_files(tmp_path):
    (tmp_path / "smoke.log").write_text("hello")
    made = results(
        tmp_path, StepResult("benchmarks", "ok", 3.0, [MACHINE, timed(), timed(1, unchecked="no reference")])
    )
    made.save(tmp_path)
    assert sorted(path.name for path in made.out.iterdir()) == ["logs.tar.gz", "results.json", "summary.md"]
    values = json.loads((made.out / "results.json").read_text())
    assert values["machine"]["gpu"] == "A GPU" and values["steps"][0]["rows"][1]["case"] == "case 0"
    with tarfile.open(made.out / "logs.tar.gz") as archive:
        assert archive.getnames() == ["smoke.log"]
    text = (made.out / "summary.md").read_text()
    assert "A GPU, torch 2.11, torchvision 0.26, Python 3.12, 2026-01-02. Copy 4.00 TB/s; products float32 50" in text
    line = "| op | case 0 | 20 | 12.3 | torchvision 50 / ; absent missing | 2.5 torchvision | 1.5 | 1 |"
    assert f"{line} 3x torchvision: 2.5, NOT REACHED |" in text
    assert "case 1, UNCHECKED: no reference" in text
    assert made.ok
    # those of the next check are its own
    Results(made.out)
    assert not list(made.out.iterdir())


def test_what_went_wrong_is_said(tmp_path):
    wrong = {"key": "test_a", "error": "AssertionError: 1 | 2"}
    peer = {"call": {"median": 50.0}, "error": "RuntimeError: no graph"}
    made = results(
        tmp_path,
        StepResult(
            "tests", "ended with 1", 3.0, [wrong, {"key": "b", "not reached": True}, {"key": "c", "skipped": True}]
        ),
        StepResult("benchmarks", "ok", 1.0, [timed(peers={"torchvision": peer})]),
    )
    assert not made.ok
    assert "| tests | ended with 1 | 3 | 2 of 3 rows, 1 failed, 1 skipped |" in made.markdown()
    assert "- tests: test_a: AssertionError: 1 | 2" in made.markdown()
    assert "torchvision 50 /  FAILED: RuntimeError: no graph" in made.markdown()
    assert "The machine was not described." in made.short()


def test_the_short_text_fits_and_ends_with_the_steps(tmp_path):
    failures = [{"key": f"test_{i}", "error": "x" * 190} for i in range(80)]
    steps = [
        StepResult("benchmarks", "ok", 100.0, [MACHINE, *(timed(i) for i in range(300))]),
        StepResult("tests", "ended with 1", 9.0, failures),
    ]
    text = results(tmp_path, *steps).short()
    assert LENGTH - 300 < len(text) <= LENGTH
    lines = text.splitlines()
    assert lines[0].startswith(
        "op, case 0 | 12.3 us | 1.5 floors | 2.5x torchvision | 3x torchvision: 2.5, NOT REACHED"
    )
    assert any(line.startswith("... and ") and "more rows in summary.md" in line for line in lines)
    assert "failures: 80" in lines and "... and 55 more in summary.md" in lines
    assert lines[-3].split() == ["benchmarks", "ok", "100", "s", "301", "of", "301", "rows,", "0", "failed"]
    assert lines[-1] == "targets: 0 reached, 300 not, 0 unknown"
