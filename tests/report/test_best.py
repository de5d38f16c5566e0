"""The best is the one that is ahead of every other, and nobody else."""

import numpy as np
import pytest
from scipy import stats

from aljax.report.best import ahead, established

LUCK = np.array([3.0, -2.0, 0.5, 1.0, -2.5])
NOISE = np.array([0.3, -0.2, 0.1, -0.3, 0.1])


def trials(values) -> dict:
    return {(0, t): float(v) for t, v in enumerate(values, 1)}


def test_best_is_ahead_of_every_other():
    a, b = trials(LUCK + 2 + NOISE), trials(LUCK + 1 + np.roll(NOISE, 1))
    c = trials(LUCK + np.roll(NOISE, 2))
    assert ahead([c, a, b], 1) == [True, True]
    assert established([c, a, b]) == 1


def test_one_that_is_ahead_of_some_only_is_not_the_best():
    a, close = trials(LUCK + 2 + NOISE), trials(LUCK + 2 - NOISE)
    c = trials(LUCK + np.roll(NOISE, 2))
    assert ahead([a, close, c], 0) == [False, True]
    assert established([a, close, c]) is None


def test_family_counts_every_other():
    """p = 0.03 is below 0.05 alone, and twice that among two."""
    gain = 1 + NOISE * stats.t.isf(0.015, 4) ** -1 * np.sqrt(5) / NOISE.std(ddof=1)
    a, b = trials(LUCK + gain), trials(LUCK)
    assert stats.ttest_rel(LUCK + gain, LUCK).pvalue == pytest.approx(0.03)
    assert established([a, b]) == 0
    # Against c, which never varies from it, there is no test; it counts all the same.
    c = trials(LUCK + gain - 1)
    assert ahead([a, b, c], 0) == [False, False]
    assert established([a, b, c]) is None


def test_only_common_trials_are_compared():
    a = trials(LUCK + 2 + NOISE)
    few = {unit: value - 2 for unit, value in list(a.items())[:2]}
    assert ahead([a, few], 0) == [False]
    assert ahead([a, {(9, 9): 0.0}], 0) == [False]


def test_nobody_to_be_ahead_of():
    assert established([trials(LUCK)]) is None
    assert established([trials(LUCK), {}]) is None
    assert established([]) is None
