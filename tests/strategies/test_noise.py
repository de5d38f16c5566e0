"""Stochastic batches: drawn as the probabilities say."""

import itertools

import numpy as np
import pytest
from scipy import stats

from aljax.strategies import STRATEGIES, Options, Outputs, highest
from aljax.strategies.noise import perturbed
from tests.support.queries import make_query

SCORES = np.array([0.1, 0.7, 0.0, 0.4])
DRAWS = 4000


def probabilities(noise, beta):
    """Of drawing each image first, from the formula."""
    ranks = np.array([3, 1, 4, 2])
    weights = {
        "power": SCORES**beta,
        "softmax": np.exp(beta * SCORES),
        "softrank": ranks**-beta,
    }[noise]
    return weights / weights.sum()


def pairs(noise, beta):
    """How often each ordered pair is drawn."""
    random, counts = np.random.Philox(key=1), {}
    for _ in range(DRAWS):
        found = perturbed(SCORES, noise, beta, random, least=0)
        pair = tuple(highest(found, 2, random).tolist())
        counts[pair] = counts.get(pair, 0) + 1
    return counts


@pytest.mark.parametrize("beta", [0.5, 2.0])
@pytest.mark.parametrize("noise", ["power", "softmax", "softrank"])
def test_pairs_are_drawn_without_replacement(noise, beta):
    p, counts = probabilities(noise, beta), pairs(noise, beta)
    expected = {
        (i, j): p[i] * p[j] / (1 - p[i]) for i, j in itertools.permutations(range(4), 2)
    }
    possible = [pair for pair, chance in expected.items() if chance > 0]
    assert set(counts) <= set(possible)
    seen = [counts.get(pair, 0) for pair in possible]
    wanted = [DRAWS * expected[pair] for pair in possible]
    assert stats.chisquare(seen, wanted).pvalue > 1e-3


def test_no_score_is_drawn_last_but_drawn():
    random = np.random.Philox(key=0)
    scores = np.array([0.0, 1.0, 0.0])
    orders = {
        tuple(highest(perturbed(scores, "power", 1, random, 0), 3, random).tolist())
        for _ in range(40)
    }
    assert orders == {(1, 0, 2), (1, 2, 0)}


def test_a_score_whose_zero_means_nothing_is_counted_from_the_lowest():
    random = [np.random.Philox(key=3) for _ in range(2)]
    scores = np.array([5.0, 7.0, 6.0])
    first, second = (
        perturbed(scores - shift, "power", 1, r)
        for shift, r in zip((0, 100), random, strict=True)
    )
    np.testing.assert_allclose(first, second)
    assert first[0] == -np.inf


def test_margins_are_counted_from_the_largest():
    """A margin of 1 is worth nothing to power sampling, although its score is −1."""
    logits = np.float32([[900, 0], [0.1, 0], [900, 0]])
    firsts = {
        int(STRATEGIES["margin"].select(query)[0])
        for query in (
            make_query(
                Outputs(logits=logits), 1, seed=seed, options=Options(noise="power")
            )
            for seed in range(20)
        )
    }
    assert firsts == {1}


@pytest.mark.parametrize("noise", ["power", "softmax", "softrank"])
def test_cold_noise_takes_the_highest(noise):
    query = make_query(options=Options(noise=noise, beta=1e9))
    plain = STRATEGIES["entropy"].select(make_query())
    assert STRATEGIES["entropy"].select(query).tolist() == plain.tolist()


def test_the_score_that_is_kept_has_no_noise():
    query = make_query(options=Options(noise="softmax"))
    kept = STRATEGIES["entropy"].score(query.candidates)
    assert (
        kept.tolist() == STRATEGIES["entropy"].score(make_query().candidates).tolist()
    )
