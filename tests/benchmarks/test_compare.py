"""Changes between two runs, and noise."""

from __future__ import annotations

from benchmarks.compare import change, compare
from benchmarks.machine import Rates
from benchmarks.timing import Time

from .cases import report, row


def test_small_changes_are_noise():
    assert change(row(1.0), row(1.04)) is None
    assert change(row(1.0), row(0.96)) is None


def test_large_changes_are_none():
    assert change(row(1.0), row(1.2)) == 1.2
    assert change(row(1.0), row(0.5)) == 0.5


def test_a_wide_spread_hides_a_change():
    assert change(row(1.0, spread=0.4), row(1.2)) is None
    assert change(row(1.0, spread=0.1), row(1.2)) == 1.2
    assert change(row(1.0, spread=0.2), row(1.2, spread=0.2)) is None


def test_few_samples_prove_little():
    single = Time(1.15, 1.15, 1.15, 1)
    assert change(row(1.0), row(ours=single)) is None
    assert change(row(1.0), row(1.15)) == 1.15
    assert change(row(2.0), row(ours=single)) == 1.15 / 2


def test_lines():
    old = report(row(1.0, case="slower"), row(1.0, case="faster"), row(1.0, case="same"), row(1.0, case="gone"))
    new = report(row(2.0, case="slower"), row(0.5, case="faster"), row(1.01, case="same"), row(1.0, case="new"))
    text = "\n".join(compare(old, new))
    assert "2x the time, slower" in text and "2x as fast" in text
    assert text.index("slower") < text.index("faster")
    assert "1 of 3 cases within the noise. New: twice new (1 threads). Gone: twice gone (1 threads)." in text
    assert "4 -> 2" in text  # the ratio to the best peer


def test_another_best_peer_is_named():
    after = row(2.0)
    faster = row(2.0, peers={**after.peers, "newcomer": Time(3.0, 3.0, 3.0, 50)})
    assert "| 4 -> 2 " in "\n".join(compare(report(row()), report(after)))
    assert "| 4 product -> 1.5 newcomer " in "\n".join(compare(report(row()), report(faster)))


def test_failed_cases_are_not_compared():
    assert "0 of 0 cases" in "\n".join(compare(report(row()), report(row(ours=None, error="no"))))


def test_another_machine_is_said():
    slower = {1: Rates({"float32": 50.0, "bfloat16": 190.0}, {0.25: 100.0, 256.0: 10.0})}
    text = "\n".join(compare(report(row()), report(row(), rates=slower, processor="Another")))
    assert "processor: A processor -> Another" in text
    assert "float32 GEMM, GFLOP/s, 1 threads: 100 -> 50" in text and "bfloat16" not in text
    assert "Nothing changed beyond the noise." in text
