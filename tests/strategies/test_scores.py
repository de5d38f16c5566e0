"""Scores by hand, where answers are sure, and where they are equal."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from aljax.strategies import (
    STRATEGIES,
    Outputs,
    entropy,
    highest,
    least_confidence,
    log_entropy,
    log_odds_against,
    log_odds_of_tie,
    margin,
    shuffled,
)
from tests.support.queries import make_query, outputs

SCORES = [entropy, least_confidence, margin]
ORDERS = {
    "entropy": (entropy, log_entropy),
    "least_confidence": (least_confidence, log_odds_against),
    "margin": (margin, log_odds_of_tie),
}


@pytest.mark.parametrize("score", SCORES)
def test_score_of_certain_and_unsure_answers(score):
    one_hot = [1000.0, -1000.0, 0.0, 0.0]
    uniform = [1e4] * 4
    certain, unsure = score(np.array([one_hot, uniform], np.float32))
    least = {entropy: 0, least_confidence: 0, margin: -1}[score]
    most = {entropy: np.log(4), least_confidence: 3 / 4, margin: 0}[score]
    assert certain == pytest.approx(least) and unsure == pytest.approx(most)


def test_scores_by_hand():
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.7, 0.2]]).astype(np.float32)
    np.testing.assert_allclose(least_confidence(logits), [0.5, 0.3], rtol=1e-6)
    np.testing.assert_allclose(margin(logits), [-0.25, -0.5], rtol=1e-6)
    np.testing.assert_allclose(
        entropy(logits), [1.5 * np.log(2), 0.8018185525], rtol=1e-6
    )


def test_scores_of_two_sure_answers_by_hand():
    logits = np.float32([[0, 50], [0, 40]])
    left = np.exp([-50.0, -40.0])
    np.testing.assert_allclose(least_confidence(logits), left, rtol=1e-12)
    np.testing.assert_allclose(entropy(logits), left * [51, 41], rtol=1e-12)


def test_entropy_as_scipy():
    logits = outputs(53).logits
    expected = stats.entropy(softmax(logits.astype(np.float64), -1), axis=-1)
    np.testing.assert_allclose(entropy(logits), expected, rtol=1e-12)
    np.testing.assert_allclose(np.exp(log_entropy(logits)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("classes", [2, 5])
def test_orders_grow_with_the_scores(name, classes):
    score, order = ORDERS[name]
    logits = outputs(200, classes).logits
    assert order(logits).argsort().tolist() == score(logits).argsort().tolist()


@pytest.mark.parametrize("name", ORDERS)
def test_large_logits_are_told_apart(name):
    """The scores of these round to one number, or the next."""
    sure = np.float32([[0, gap, 0] for gap in (9000, 40, 2000, 90, 800, 700)])
    query = make_query(Outputs(logits=sure), 6)
    assert STRATEGIES[name].select(query).tolist() == [1, 3, 5, 4, 2, 0]
    almost = np.float32([[0, 1e-7], [0, 1e-9], [0, 1e-8]])
    if name != "entropy":  # which is flat there
        query = make_query(Outputs(logits=almost), 3)
        assert STRATEGIES[name].select(query).tolist() == [1, 2, 0]


def test_highest_draws_the_order_of_equals():
    scores = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 3.0])
    found = [highest(scores, 4, np.random.Philox(key=k)).tolist() for k in range(50)]
    assert all(set(f[:3]) == {1, 3, 5} and f[3] in (2, 4) for f in found)
    assert {f[0] for f in found} == {1, 3, 5} and {f[3] for f in found} == {2, 4}
    again = highest(scores, 4, np.random.Philox(key=7)).tolist()
    assert again == found[7]


def test_best_comes_first():
    losses = outputs(53).predicted_loss
    chosen = STRATEGIES["learning_loss"].select(make_query(budget=53))
    assert chosen.tolist() == np.argsort(-losses).tolist()
    unsure = np.array([[5, 0, 0], [1.1, 1, 0], [2, 1, 0]], np.float32)
    chosen = STRATEGIES["margin"].select(make_query(Outputs(logits=unsure), 3))
    assert chosen.tolist() == [1, 2, 0]


def test_random_depends_on_the_seed_alone():
    def chosen(seed):
        return STRATEGIES["random"].select(make_query(budget=53, seed=seed)).tolist()

    assert chosen(1) != chosen(2) and chosen(1) != list(range(53))
    assert chosen(1) == shuffled(np.random.Philox(key=1), 53, 53).tolist()


def test_shuffled_is_uniform():
    random = np.random.Philox(key=0)
    firsts = np.array([shuffled(random, 5, 1)[0] for _ in range(5000)])
    counts = np.bincount(firsts, minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_shuffled_never_changes():
    chosen = shuffled(np.random.Philox(key=7), 10, 6)
    assert chosen.tolist() == [8, 4, 1, 6, 3, 2]
