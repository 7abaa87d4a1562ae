"""The vectors of the original's rules: one test a case, and that the judge notices what is wrong."""

from __future__ import annotations

import ast
import json
import math
from pathlib import Path

import pytest

import refinedet_ext as rx
from benchmarks.study import judge, rules

CASES = [(rule, case) for rule in judge.IMPLEMENTATIONS for case in judge.load(rule)["cases"]]


@pytest.mark.parametrize(("rule", "case"), CASES, ids=[f"{rule}: {case['name']}" for rule, case in CASES])
def test_case(rule, case):
    verdicts = judge.judge_case(rule, case)
    assert [verdict.problem for verdict in verdicts if verdict.problem] == []
    assert len(verdicts) > 1, "no implementation of ours is compared"


@pytest.mark.parametrize("rule", judge.IMPLEMENTATIONS)
def test_every_rule_has_enough_cases_each_with_its_derivation(rule):
    cases = judge.load(rule)["cases"]
    assert len(cases) >= 20 and sum(case["degenerate"] for case in cases) >= 5
    assert len({case["name"] for case in cases}) == len(cases)
    for case in cases:
        assert set(case) == {"name", "degenerate", "derivation", "given", "expected"}
        assert case["derivation"].endswith(".") and case["expected"]


def test_rules_import_nothing_of_ours():
    files = sorted(Path(rules.__file__).parent.glob("*.py"))
    assert {path.stem for path in files} > set(judge.IMPLEMENTATIONS)
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert all(name.name == "math" for name in node.names), path
            if isinstance(node, ast.ImportFrom):
                assert node.level == 1 or node.module in ("__future__", "collections.abc", "typing"), path


def first(rule):
    return judge.load(rule)["cases"][0]


def test_a_damaged_number_is_noticed():
    case = first("coding")
    case["expected"]["deltas"][0][1] += 1e-4
    verdicts = judge.judge_case("coding", case)
    assert all(verdict.problem.startswith("deltas[0][1]: expected ") for verdict in verdicts)
    assert {"rule", "torch float32", "NumPy float64"} <= {verdict.implementation for verdict in verdicts}


@pytest.mark.parametrize(
    ("expected", "problem"),
    [
        ({"labels": [[3, 1]]}, "labels[0][1]: expected 1, got 0"),
        ({"labels": [[3, 0, 0]]}, "labels[0]: expected [3, 0, 0], got [3, 0]"),
        ({"more": 1}, "result: expected"),
    ],
    ids=["label", "length", "key"],
)
def test_a_damaged_vector_is_noticed(expected, problem):
    case = first("matching")
    case["expected"] |= expected
    verdicts = judge.judge_case("matching", case)
    assert all(verdict.problem.startswith(problem) and verdict.difference == math.inf for verdict in verdicts)


def test_a_damaged_implementation_is_noticed(monkeypatch):
    op = rx.match_anchors

    def nothing(*args, **rules):
        found = op(*args, **rules)
        return found._replace(labels=found.labels * 0)

    monkeypatch.setattr(rx, "match_anchors", nothing)
    problems = {v.implementation: v.problem for v in judge.judge_case("matching", first("matching"))}
    assert problems.pop("torch float32") == "labels[0][0]: expected 3, got 0"
    assert problems.pop("torch float64") and not any(problems.values())
    assert any(verdict.problem for verdict in judge.judge_case("two_step", first("two_step")))


def test_a_damaged_rule_is_noticed(monkeypatch):
    monkeypatch.setattr("benchmarks.study.rules.matching.LEAST_IOU", 0.9999)
    wrong = [
        v.implementation for rule, c in CASES if rule == "matching" for v in judge.judge_case(rule, c) if v.problem
    ]
    assert wrong and set(wrong) == {"rule"}


@pytest.mark.parametrize(
    ("got", "want", "tolerance", "difference", "agrees"),
    [
        (1.5, 1.5, 0.0, 0.0, True),
        (1000.5, 1000, 1e-3, 5e-4, True),  # of the value
        (0.5, 0.25, 0.1, 0.25, False),  # below 1 of 1
        (3, 3, 1.0, 0.0, True),
        (3, 4, 1.0, math.inf, False),  # whole numbers are exact
        (True, False, 1.0, math.inf, False),
        ("soft", "box", 1.0, math.inf, False),
    ],
)
def test_compare(got, want, tolerance, difference, agrees):
    found, problem = judge.compare({"x": [got]}, {"x": [want]}, tolerance)
    assert found == difference and (problem == "") == agrees


def test_nan_agrees_with_nothing():
    assert judge.compare(math.nan, 1.0, 1.0) == (math.inf, ": expected 1.0, got nan")


def test_the_command(capsys):
    assert judge.main(["mining", "coding"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 4 and err == ""
    assert lines[2].startswith("| hard negative mining") and "mine_by_rule" in lines[2]
    assert "torch float32/64, NumPy float32/64, reference float64" in lines[3]


def test_the_command_fails_where_somebody_disagrees(monkeypatch, tmp_path, capsys):
    vectors = judge.load("mining")
    vectors["cases"][0]["expected"]["count"] = [2]
    (tmp_path / "mining.json").write_text(json.dumps(vectors), encoding="utf-8")
    monkeypatch.setattr(judge, "VECTORS", tmp_path)
    assert judge.main(["mining"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[2].endswith(" inf                |")
    assert "judge: mining, three for one, torch float32: count[0]: expected 2, got 3\n" in err


def test_the_command_names_the_rules(capsys):
    with pytest.raises(SystemExit) as stopped:
        judge.main(["maching"])
    assert stopped.value.code == 2
    assert "RULE: expected some of anchors, matching," in capsys.readouterr().err
