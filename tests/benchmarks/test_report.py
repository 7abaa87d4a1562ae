"""A report as text, as JSON and back, and the command."""

from __future__ import annotations

import json

import pytest

from benchmarks import __main__ as command
from benchmarks import catalog, memory
from benchmarks.memory import Peak
from benchmarks.plot import draw, lines_of, summary
from benchmarks.report import Report

from .cases import RATES, TARGETS, case, report, row


@pytest.fixture
def one_case(monkeypatch):
    """Runs of the command find these cases alone."""
    cases = [case()]
    monkeypatch.setattr(catalog, "all_cases", lambda: iter(cases))
    monkeypatch.setattr(command, "measure_rates", lambda: RATES[1])
    monkeypatch.setattr(memory, "CASES", {})
    return cases


def test_json_and_back(tmp_path):
    made = report(row(targets=TARGETS), row(peer=None, threads=2), row(ours=None, error="no"))
    made.peaks.append(Peak("op", "case", 3.0, 1.0, 4.0))
    path = tmp_path / "new" / "run.json"
    made.save(path)
    assert Report.load(path) == made
    assert json.loads(path.read_text())["cases"][0]["ours"]["median"] == 1.0


def test_json_of_others(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="expected a file that `python -m benchmarks --json` wrote"):
        Report.load(path)


def test_text():
    made = report(row(targets=TARGETS), row(peer=None, case="other"))
    made.peaks += [
        Peak("op", "a", 3.0, 1.0, 4.0),
        Peak("op", "b", 9.0, 1.0, 4.0),
        Peak("op", "c", None, 0.0, 4.0, "no /proc"),
    ]
    text = made.text()
    assert "Missing: mmcv" in text and "product missing: twice" in text and "GEMM float32 100" in text
    for verdict in ("below 4: reached", "below 4: NOT REACHED", "below 4: not measured: no /proc"):
        assert verdict in text


def test_command(one_case, tmp_path, capsys):
    path = tmp_path / "run.json"
    arguments = ["--quick", "--seconds", "0.005", "--json", str(path), "--markdown", str(tmp_path / "run.md")]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| twice | N=8" in printed and "absent missing: twice" in printed
    assert (tmp_path / "run.md").read_text() == printed
    assert len(Report.load(path).rows) == 1
    assert command.main(["--from", str(path), "--compare", str(path)]) == 0
    assert "1 of 1 cases within the noise" in capsys.readouterr().out


def test_a_wrong_case_fails_the_run(one_case, capsys):
    one_case.append(case(name="N=8, wrong", ours=lambda x: x))
    assert command.main(["--seconds", "0.005", "--threads", "1"]) == 1
    streams = capsys.readouterr()
    assert "FAILED: AssertionError" in streams.out and "N=8, wrong" in streams.err
    assert "| twice | N=8 " in streams.out  # the others are measured


def test_a_skipped_case_fails_nothing(one_case, tmp_path, capsys):
    path = tmp_path / "run.json"
    one_case.append(case(name="N=9", skip="no such instruction"))
    assert command.main(["--seconds", "0.005", "--threads", "1", "--json", str(path)]) == 0
    assert "not run: no such instruction" in capsys.readouterr().out
    assert command.main(["--from", str(path), "--compare", str(path)]) == 0
    assert "1 of 1 cases within the noise" in capsys.readouterr().out


def test_a_run_that_is_stopped_shows_what_it_has(one_case, capsys):
    def stop():
        raise KeyboardInterrupt

    one_case.append(case(name="N=9", inputs=stop))
    assert command.main(["--seconds", "0.005", "--threads", "1"]) == 0
    streams = capsys.readouterr()
    assert "| twice | N=8" in streams.out and "N=9" not in streams.out and "stopped" in streams.err


def test_list_and_select(one_case, capsys):
    one_case.append(case(name="N=9", short=False))
    assert command.main(["--list"]) == 0
    assert capsys.readouterr().out == "twice, N=8, float32, forward (short)\ntwice, N=9, float32, forward\n"
    assert command.main(["--list", "--quick"]) == 0
    assert "N=9" not in capsys.readouterr().out
    assert command.main(["--list", "--select", "twice", "--skip", "N=8"]) == 0
    assert capsys.readouterr().out == "twice, N=9, float32, forward\n"
    assert command.main(["--select", "thrice"]) == 2
    assert "no case has 'thrice' in its title; ops: twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--compare", "/nowhere.json"], "/nowhere.json"),
        (["--threads", "0"], "threads: expected at least 1, got 0"),
        (["--seconds", "0"], "seconds: expected more than 0, got 0.0"),
    ],
)
def test_wrong_arguments(one_case, arguments, said, capsys):
    assert command.main(arguments) == 2
    assert said in capsys.readouterr().err


def test_plot(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "x.png"
    draw(report(row(targets=TARGETS), row(0.1, case="x", dtype="bfloat16"), row(9.0, op="other")), path)
    assert 10_000 < path.stat().st_size < 200_000
    with pytest.raises(ValueError, match="no case on one thread with a peer"):
        draw(report(row(peer=None)), tmp_path / "y.png")


def test_lines_of_the_plot():
    rows = [row(8.0, op="b"), row(op="a"), row(0.5, op="a", case="x"), row(0.8, op="a", case="y")]
    left_out = [row(op="a", threads=2), row(op="c", peer=None), row(op="call overhead")]
    lines = lines_of([*left_out, *rows])
    assert list(lines) == ["a", "b"] and lines["a"] == rows[1:] and lines["b"] == rows[:1]
    assert summary(lines["a"]) == "5x (4 to 8)  product"
    assert summary(lines["b"]) == "0.5x  product"
