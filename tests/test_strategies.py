"""Scores by hand, and what every strategy owes the loop."""

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
    margin,
    shuffled,
)

N, K, D = 53, 5, 7


def outputs(count: int = N) -> Outputs:
    random = np.random.default_rng(count)
    return Outputs(
        random.normal(0, 2, (count, K)).astype(np.float32),
        random.normal(0, 2, count).astype(np.float32),
        random.normal(0, 2, (count, D)).astype(np.float32),
    )


def select(name: str, budget: int, seed: int = 0) -> np.ndarray:
    generator = np.random.Philox(key=seed)
    return STRATEGIES[name].select(generator, outputs(), outputs(9), N, budget)


@pytest.mark.parametrize("score", [entropy, least_confidence, margin])
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


def test_entropy_as_scipy():
    logits = outputs().logits
    expected = stats.entropy(softmax(logits.astype(np.float64), -1), axis=-1)
    np.testing.assert_allclose(entropy(logits), expected, rtol=1e-12)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("budget", [1, 10, N])
def test_every_strategy_chooses_exactly_the_budget(name, budget):
    chosen = select(name, budget)
    assert chosen.shape == (budget,)
    assert len(set(chosen.tolist())) == budget
    assert set(chosen.tolist()) <= set(range(N))
    np.testing.assert_array_equal(chosen, select(name, budget))


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_reads_only_what_it_needs(name):
    strategy = STRATEGIES[name]
    assert strategy.needs <= {"logits", "predicted_loss", "embedding", "labelled"}
    given = Outputs(
        **{field: getattr(outputs(), field) for field in strategy.needs - {"labelled"}}
    )
    labelled = outputs(9) if "labelled" in strategy.needs else None
    chosen = strategy.select(np.random.Philox(key=0), given, labelled, N, 10)
    np.testing.assert_array_equal(chosen, select(name, 10))


def test_highest_breaks_ties_by_lowest_position():
    scores = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 3.0])
    assert highest(scores, 4).tolist() == [1, 3, 5, 2]


def test_best_comes_first():
    losses = outputs().predicted_loss
    assert select("learning_loss", N).tolist() == np.argsort(-losses).tolist()
    unsure = np.array([[5, 0, 0], [1.1, 1, 0], [2, 1, 0]], np.float32)
    chosen = STRATEGIES["margin"].select(None, Outputs(unsure), None, 3, 3)
    assert chosen.tolist() == [1, 2, 0]


def test_random_depends_on_the_seed_alone():
    first, second = select("random", N, 1), select("random", N, 2)
    assert first.tolist() != second.tolist()
    assert first.tolist() != list(range(N))
    bare = STRATEGIES["random"].select(np.random.Philox(key=1), Outputs(), None, N, N)
    np.testing.assert_array_equal(bare, first)


def test_shuffled_is_uniform():
    random = np.random.Philox(key=0)
    firsts = np.array([shuffled(random, 5, 1)[0] for _ in range(5000)])
    counts = np.bincount(firsts, minlength=5)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_shuffled_never_changes():
    chosen = shuffled(np.random.Philox(key=7), 10, 6)
    assert chosen.tolist() == [8, 4, 1, 6, 3, 2]
