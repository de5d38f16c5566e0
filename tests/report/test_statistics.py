"""Statistics agree with scipy, statsmodels and with arithmetic by hand."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from aljax.report.statistics import (
    Interval,
    crossings,
    estimate,
    holm,
    jaccard,
    labels_interval,
    labels_needed,
    paired,
    pareto,
    penalty_matrix,
    ratio_of_labels,
    resamples,
)


def test_estimate_by_hand():
    # Mean 3, deviations −2, 0, 2: variance 8 / 2; t of 2 degrees is 4.302653.
    found = estimate([1, 3, 5])
    assert (found.n, found.mean, found.sd) == (3, 3.0, 2.0)
    assert found.high - 3 == pytest.approx(4.302653 * 2 / math.sqrt(3), rel=1e-6)
    assert found.low + found.high == pytest.approx(6)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_estimate_as_scipy(n):
    values = np.random.default_rng(n).normal(50, 3, n)
    found = estimate(values)
    low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_too_few_trials_have_no_interval():
    one, two = estimate([4.0]), estimate([4.0, 6.0])
    assert one.mean == 4 and math.isnan(one.sd) and math.isnan(one.low)
    assert two.mean == 5 and two.sd == pytest.approx(math.sqrt(2))
    assert math.isnan(two.low) and math.isnan(two.high)


def test_no_trial_has_no_mean():
    found = estimate([])
    assert found.n == 0
    assert all(map(math.isnan, (found.mean, found.sd, found.low, found.high)))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_paired_as_scipy(n):
    random = np.random.default_rng(n)
    luck = random.normal(80, 3, n)
    first, second = luck + random.normal(1, 0.5, n), luck
    found, expected = paired(first, second), stats.ttest_rel(first, second)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.mean == pytest.approx((first - second).mean())


def test_pairing_shows_what_trials_hide():
    # Trials spread by 3 points, their differences by 0.3.
    luck = np.array([-3.9, -1.6, 0.2, 1.9, 3.4])
    gain = 2 + np.array([0.3, -0.4, 0.1, 0.2, -0.2])
    assert paired(luck + gain, luck).p < 1e-3
    assert stats.ttest_ind(luck + gain, luck).pvalue > 0.25


def test_detectable_is_the_mean_that_would_just_have_passed():
    second = np.array([1.0, 2.0, 4.0, 3.0])
    first = second + [0.2, 0.5, -0.1, 0.2]
    found = paired(first, second)
    moved = first - found.mean + found.detectable
    assert paired(moved, second).p == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_trials_are_not_tested(n):
    found = paired([3.0, 4.0][:n], [1.0, 1.0][:n])
    assert found.p is None and math.isnan(found.low) and math.isnan(found.detectable)
    assert found.mean == [2.0, 2.5][n - 1]


def test_differences_without_spread_are_not_tested():
    found = paired([0.3, 0.4, 0.5], [0.2, 0.3, 0.4])
    assert found.p is None and found.mean == pytest.approx(0.1)


def test_holm_by_hand():
    # 0.01·3, then max(0.03, 0.03·2), then max(0.06, 0.04·1).
    assert holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_leaves_out_what_was_not_tested():
    assert holm([None, 0.01, None, 0.02]) == [None, 0.02, None, 0.02]


@pytest.mark.parametrize("seed", range(5))
def test_holm_as_statsmodels(seed):
    ps = np.random.default_rng(seed).uniform(0, 0.2, 6) ** 2
    expected = multipletests(ps, method="holm")[1]
    assert holm(ps.tolist()) == pytest.approx(expected)


def test_labels_needed_by_hand():
    labelled = [1000, 2000, 4000]
    accuracies = [0.4, 0.6, 0.8]
    assert labels_needed(labelled, accuracies, 0.5) == 1500
    assert labels_needed(labelled, accuracies, 0.7) == pytest.approx(3000)
    assert labels_needed(labelled, accuracies, 0.8) == 4000
    assert labels_needed(labelled, accuracies, 0.3) == 1000
    assert labels_needed(labelled, accuracies, 0.81) is None


def test_labels_needed_passes_over_a_dip():
    labelled = [1, 2, 3, 4]
    # 0.55 is reached before the dip; 0.7 only in the last quarter of the rise after it.
    assert labels_needed(labelled, [0.4, 0.6, 0.5, 0.8], 0.55) == pytest.approx(1.75)
    assert labels_needed(labelled, [0.4, 0.6, 0.5, 0.8], 0.7) == pytest.approx(3.5)


def test_labels_needed_of_one_budget_and_of_a_flat_curve():
    assert labels_needed([1000], [0.5], 0.5) == 1000
    assert labels_needed([1000], [0.5], 0.6) is None
    assert labels_needed([1, 2, 3], [0.5, 0.5, 0.5], 0.5) == 1
    assert labels_needed([1, 2, 3], [0.5, 0.5, 0.5], 0.6) is None


def test_crossings_of_many_are_those_of_each():
    random = np.random.default_rng(0)
    labelled, curves = np.arange(1, 9) * 100, random.uniform(0, 1, (50, 8))
    targets = random.uniform(0, 1.1, 50)
    pairs = zip(curves, targets, strict=True)
    each = [labels_needed(labelled, *pair) for pair in pairs]
    expected = [math.inf if needed is None else needed for needed in each]
    np.testing.assert_allclose(crossings(labelled, curves, targets), expected)
    assert math.inf in expected


def test_ratio_of_labels_by_hand():
    labelled = np.array([1000, 2000, 3000])
    random = np.array([[0.4, 0.5, 0.6]] * 5)
    method = np.array([[0.4, 0.6, 0.7]] * 5)
    # Both reach 0.6: random with 3,000 labels, the method with 2,000.
    assert ratio_of_labels(labelled, method, random) == Interval(1.5, 1.5, 1.5)
    turned = ratio_of_labels(labelled, random, method)
    assert turned.value == pytest.approx(2 / 3)
    few = ratio_of_labels(labelled, method[:4], random[:4])
    assert few == Interval(1.5, None, None)


def test_ratio_of_labels_draws_pairs():
    """Luck that trials share widens no interval; drawn apart, it would."""
    labelled = np.array([1000, 2000, 3000])
    luck = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])[:, None]
    random = np.array([0.4, 0.5, 0.6]) + luck
    method = np.array([0.4, 0.6, 0.7]) + luck
    found = ratio_of_labels(labelled, method, random)
    assert (found.low, found.high) == pytest.approx((1.5, 1.5))


def test_bootstrap_intervals_agree_with_scipy():
    random = np.random.default_rng(4)
    labelled = np.arange(1, 6) * 1000
    curves = np.linspace(0.4, 0.8, 5) + random.normal(0, 0.03, (6, 1))
    found = labels_interval(labelled, curves, 0.6)

    t = stats.t.ppf(0.975, 5)

    def needed(places):
        return labels_needed(labelled, curves[places.astype(int)].mean(0), 0.6)

    expected = stats.bootstrap(
        (np.arange(6),),
        needed,
        vectorized=False,
        n_resamples=9_999,
        confidence_level=1 - 2 * stats.norm.cdf(-math.sqrt(6 / 5) * t),
        method="percentile",
        random_state=1,
    ).confidence_interval
    assert found.value == labels_needed(labelled, curves.mean(0), 0.6)
    assert (found.low, found.high) == pytest.approx(tuple(expected), rel=0.02)


def test_a_bootstrap_of_five_trials_holds_what_it_says():
    """On straight lines, labels needed go with the mean of five normal numbers."""
    shifts = np.random.default_rng(6).normal(0, 0.02, (400, 5, 1))
    line, labelled = np.linspace(0.2, 0.8, 7), np.linspace(1000, 7000, 7)
    intervals = [labels_interval(labelled, line + shift, 0.5) for shift in shifts]
    held = np.mean([found.low <= 4000 <= found.high for found in intervals])
    assert 0.89 < held < 0.95


def test_bootstrap_says_where_a_bound_is_not_reached():
    labelled = np.array([1000, 2000])
    curves = np.array([[0.4, last] for last in (0.6, 0.65, 0.7, 0.75, 0.8)])
    found = labels_interval(labelled, curves, 0.68)
    assert found.value is not None and found.low is not None and found.high is None
    assert labels_interval(labelled, curves, 0.9) == Interval(None, None, None)
    few = labels_interval(labelled, curves[:4], 0.5)
    assert few.value is not None and few.low is few.high is None


def test_draws_are_seeded_and_whole_trials():
    drawn = resamples(8)
    assert drawn.shape == (10_000, 8)
    assert np.array_equal(drawn, resamples(8))
    assert set(np.unique(drawn)) == set(range(8))


def test_few_trials_are_drawn_in_every_way():
    assert len(np.unique(resamples(5), axis=0)) == len(resamples(5)) == 5**5


def test_penalty_matrix_by_hand():
    """a beats b at one of two budgets, both beat c at both, b never beats a."""
    shape = np.array([0.01, -0.01, 0.02, -0.02, 0.0])
    turned = np.roll(shape, 1)
    c = np.stack([shape, shape], -1) * 0.0 + 0.5
    b = c + np.stack([0.1 + shape, 0.1 + shape], -1)
    a = b + np.stack([0.2 + turned, 3 * turned], -1)
    matrix = penalty_matrix({"a": a, "b": b, "c": c})
    np.testing.assert_array_equal(matrix, [[0, 0.5, 1], [0, 0, 1], [0, 0, 0]])
    t = np.sqrt(5) * (a - b)[:, 0].mean() / (a - b)[:, 0].std(ddof=1)
    assert t > stats.t.ppf(0.975, 4)


def test_penalty_matrix_of_two_trials_has_no_winner():
    curves = {"a": np.ones((2, 3)), "b": np.zeros((2, 3))}
    assert not penalty_matrix(curves).any()


def test_jaccard():
    assert jaccard(np.array([1, 2, 3]), np.array([3, 2, 9])) == 0.5
    assert jaccard(np.array([1]), np.array([2])) == 0
    assert math.isnan(jaccard(np.array([]), np.array([])))


def test_pareto():
    #       best, cheap, beaten by the first, as cheap but worse, unknown
    cost = [5.0, 1.0, 6.0, 1.0, np.nan]
    gain = [0.9, 0.5, 0.8, 0.4, 0.99]
    assert pareto(cost, gain).tolist() == [True, True, False, False, False]
    assert pareto([1, 1], [0.5, 0.5]).tolist() == [True, True]
