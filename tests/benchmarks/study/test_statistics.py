import math

import pytest

from benchmarks.study.statistics import difference, mean_of, pooled_variance, student_t95


def test_the_factor_is_student_t():
    stats = pytest.importorskip("scipy.stats")
    for degrees in (*range(1, 11), 20, 60):
        assert student_t95(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=6e-4)
    # between two entries the wider interval
    assert student_t95(11) == student_t95(10) and student_t95(1000) == student_t95(120)
    with pytest.raises(ValueError, match="degrees: expected 1 or above, got 0"):
        student_t95(0)


def test_the_interval_of_a_mean():
    # 1, 2, 3: variance 1, so 4.303 / sqrt(3)
    found = mean_of([1.0, 2.0, 3.0])
    assert found.value == 2 and found.half == pytest.approx(4.303 / math.sqrt(3))
    assert str(found) == "2.0 ± 2.5" and not found.decided
    assert mean_of([5.0]).half is None and not mean_of([5.0]).decided and str(mean_of([5.0])) == "5.0"
    with pytest.raises(ValueError, match="values: expected at least one"):
        mean_of([])


def test_a_difference_takes_the_spread_of_all_rows():
    # within the groups: 2 of (1, 3), 8 of (0, 4), nothing of a single value: 10 over 2 degrees of freedom
    spread = pooled_variance([[1.0, 3.0], [0.0, 4.0], [7.0], []])
    assert spread == (5.0, 2)
    found = difference([1.0, 3.0], [20.0, 24.0], spread)
    assert found.value == -20 and found.half == pytest.approx(4.303 * math.sqrt(5))
    assert found.decided and found.signed == "\N{MINUS SIGN}20.0 ± 9.6"
    assert difference([1.0], [2.0], pooled_variance([[1.0], [2.0]])).half is None
