import json
from typing import Any

import pytest

from benchmarks.study import ablations_page, fractions_page, page
from benchmarks.study.ablations import TABLES
from benchmarks.study.command import RESULTS
from benchmarks.study.runs import METRICS

TABLE = next(table for table in TABLES if table.key == "refinedet")


def runs_of(**rows: list[float]) -> list[dict[str, Any]]:
    """On BCCD, a value for every seed."""
    return [
        {
            "data": "bccd",
            "row": row.replace("_", "-", 1),
            "seed": seed,
            "step_ms": 100.0 + seed,
            "metrics": {"": dict.fromkeys(METRICS, value)},
        }
        for row, values in rows.items()
        for seed, value in enumerate(values)
    ]


def test_a_sign_is_told_where_the_interval_leaves_zero_out():
    runs = runs_of(refinedet=[40, 42], refinedet_no_filtering=[30, 32], refinedet_no_two_step=[40, 41],
                   refinedet_no_tcb=[50, 52])  # fmt: skip
    changes = {row.run: ablations_page.change(runs, "bccd", TABLE, row) for row in TABLE.rows}
    # variances 2, 2, 0.5 and 2 with a degree of freedom each: 1.625, and t(4) = 2.776
    assert changes["refinedet"] is None and changes["refinedet-no_filtering"].value == -10
    assert changes["refinedet-no_filtering"].half == pytest.approx(2.776 * 1.625**0.5)
    told = [ablations_page.verdict(changes[row.run], ablations_page.paper_change(TABLE, row)) for row in TABLE.rows]
    assert told == ["", "as the paper", "open", "**contrary**"]
    lines = ablations_page.summary(TABLE, runs)
    assert "41.0" in lines[2] and "\N{MINUS SIGN}10.0 ± 3.5" in lines[3] and lines[3].count("not run") == 1
    assert ablations_page.details(TABLE, runs, "bccd")[2].split("|")[-3].strip() == "101"


def test_one_seed_has_no_interval_and_decides_nothing():
    runs = runs_of(refinedet=[40], refinedet_no_tcb=[50])
    found = ablations_page.change(runs, "bccd", TABLE, TABLE.rows[-1])
    assert found.half is None and ablations_page.verdict(found, -3.8) == "open"


def test_other_detectors_spread_counts_nothing():
    runs = runs_of(refinedet=[40, 42], refinedet_no_tcb=[50, 52], refinedetlite=[0, 90])
    assert ablations_page.spread(runs, "bccd", TABLE) == (2.0, 2)


def test_pages_are_made_from_the_results_that_are_committed():
    makers = page.blocks(RESULTS)
    files = sorted(page.DOCS.glob("*.md"))
    assert files
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert page.filled(text, makers) == text, f"{file.name}: run python -m benchmarks.study page"


def test_what_stands_between_the_marks_is_replaced():
    text = "a\n<!-- STUDY: x -->\nold\n<!-- end -->\nb\n"
    assert page.filled(text, {"x": lambda: ["1", "2"]}) == "a\n<!-- STUDY: x -->\n\n1\n2\n\n<!-- end -->\nb\n"
    assert page.filled(page.filled(text, {"x": lambda: ["1"]}), {"x": lambda: ["1"]}).count("1") == 1
    with pytest.raises(KeyError):
        page.filled(text, {})


def test_plots_of_a_part_of_the_results(tmp_path):
    ablations_page.draw(runs_of(refinedet=[40, 42], refinedet_no_tcb=[50]), tmp_path / "a.png")
    fractions = [
        {"data": "scratch_flips", "row": "25", "seed": seed, "metrics": {"": {"AP": 5.0 + seed, "AP50": 9.0}}}
        for seed in (0, 1)
    ]
    fractions_page.draw(fractions, tmp_path / "f.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000 and (tmp_path / "f.png").stat().st_size > 5_000
    assert "5.5 ± 6.4" in fractions_page.table(fractions)[2] and "not run" in fractions_page.table(fractions)[2]


def test_results_have_the_form_that_the_pages_read():
    for file in RESULTS.glob("ablations.json"):
        for run in json.loads(file.read_text(encoding="utf-8"))["runs"]:
            assert set(run["metrics"][""]) == set(METRICS)
