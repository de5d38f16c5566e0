"""What every strategy owes the loop: a budget of images, by what it asks for."""

import dataclasses

import numpy as np
import pytest

from aljax.config import Config, validate
from aljax.strategies import (
    NOISES,
    STRATEGIES,
    Options,
    Outputs,
    Strategy,
    by_score,
    check_choice,
    check_scores,
)
from tests.support.queries import POOLS, Attached, make_query, outputs, rows

FIELDS = {"logits", "predicted_loss", "embedding", "stochastic_logits"}
SCORED = [name for name, strategy in STRATEGIES.items() if strategy.score]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", STRATEGIES)
def test_chooses_exactly_the_budget_and_again_the_same(name, pool):
    query = POOLS[pool]()
    chosen = STRATEGIES[name].select(query)
    assert len(check_choice(name, chosen, query.count, query.budget)) == query.budget
    again = STRATEGIES[name].select(POOLS[pool]())
    np.testing.assert_array_equal(chosen, again)


@pytest.mark.parametrize("name", STRATEGIES)
def test_reads_only_what_it_needs(name):
    strategy = STRATEGIES[name]
    assert strategy.needs <= FIELDS | {"labelled"}
    whole = make_query()

    def reduced(some):
        return Outputs(**{f: getattr(some, f) for f in strategy.needs - {"labelled"}})

    needs_labelled = "labelled" in strategy.needs
    query = dataclasses.replace(
        make_query(),
        candidates=reduced(whole.candidates),
        labelled=reduced(whole.labelled) if needs_labelled else None,
    )
    np.testing.assert_array_equal(strategy.select(query), strategy.select(whole))


@pytest.mark.parametrize("name", STRATEGIES)
def test_permuting_the_pool_permutes_the_answer(name):
    whole = make_query(budget=10)
    order = np.random.default_rng(3).permutation(whole.count)

    def chosen(order):
        query = dataclasses.replace(
            whole,
            candidates=rows(whole.candidates, order),
            random=Attached(order, len(whole.labelled.logits)),
        )
        return STRATEGIES[name].select(query)

    unmoved = chosen(np.arange(whole.count))
    np.testing.assert_array_equal(order[chosen(order)], unmoved)
    assert unmoved.tolist() != order[:10].tolist()


@pytest.mark.parametrize("name", STRATEGIES)
def test_equal_images_come_in_an_order_that_is_drawn(name):
    """A pool sorted by class must not be bought class by class."""
    same = rows(outputs(1), np.zeros(40, int))
    firsts = {
        int(STRATEGIES[name].select(make_query(same, 3, seed=seed))[0])
        for seed in range(6)
    }
    assert len(firsts) > 2


@pytest.mark.parametrize("name", ["k_center", "badge", "typiclust", "bait"])
def test_can_be_stopped_between_pieces_of_work(name):
    def stop():
        raise InterruptedError

    with pytest.raises(InterruptedError):
        STRATEGIES[name].select(make_query(budget=20, check=stop))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", SCORED)
def test_noise_changes_the_choice_and_nothing_else(name, noise):
    options = Options(noise=noise, beta=0.5)
    chosen = STRATEGIES[name].select(make_query(options=options))
    assert len(check_choice(name, chosen, 53, 10)) == 10
    plain = STRATEGIES[name].select(make_query())
    assert (noise == "none") == (chosen.tolist() == plain.tolist())
    validate(Config(strategy=name, query=options))


@pytest.mark.parametrize("name", sorted({*STRATEGIES} - {*SCORED, "random"}))
def test_noise_on_a_strategy_without_scores_is_refused(name):
    with pytest.raises(ValueError, match=f"query.noise: 'power'.*{name} does not do"):
        validate(Config(strategy=name, query=Options(noise="power")))
    validate(Config(strategy="random", query=Options(noise="power")))


def test_noise_on_a_score_that_nobody_draws_by_is_refused(monkeypatch):
    own = Strategy(lambda query: None, frozenset({"logits"}), lambda seen: None)
    monkeypatch.setitem(STRATEGIES, "own", own)
    with pytest.raises(ValueError, match="query.noise: 'power'.*own does not do"):
        validate(Config(strategy="own", query=Options(noise="power")))


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, "bool"])
def test_scores_of_any_type_are_sorted_as_numbers(kind):
    """Whole numbers without a sign, and truth values, have no negative."""
    logits = np.array([[0], [1], [5], [3]], np.float32)
    wanted = [1, 2, 3] if kind == "bool" else [2, 3]
    own = by_score(lambda z: (z[:, 0]).astype(kind), "logits")
    for noise in ("none", "softrank"):
        options = Options(noise=noise, beta=1e6)
        seen = Outputs(logits=logits)
        chosen = own.select(make_query(seen, len(wanted), options=options))
        assert sorted(chosen.tolist()) == wanted


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("noise", "powr", "did you mean 'power'"),
        ("fisher", "half", "Choose one of: auto, full, binary"),
        ("beta", 0.0, "query.beta: 0.0 .* above 0"),
        ("passes", 1, "query.passes: 1 .* at least 2"),
        ("dropout", 1.0, "query.dropout: 1.0 .* below 1"),
        ("clusters", 0, "query.clusters: 0 .* at least 1"),
        ("oversample", 0.5, "query.oversample: 0.5 .* at least 1"),
        ("neighbours", 0, "query.neighbours: 0 .* at least 1"),
        ("regularisation", 0.0, "query.regularisation: 0.0 .* above 0"),
        ("passes", 2.5, "query.passes: 2.5 is of the wrong type"),
    ],
)
def test_options_are_checked(field, value, words):
    with pytest.raises(ValueError, match=words):
        validate(Config(query=dataclasses.replace(Options(), **{field: value})))


@pytest.mark.parametrize(
    "chosen, words",
    [
        ([0, 1, 1], "position 1 more than once"),
        ([0, 1, 53], "position 53"),
        ([0, -1, 2], "position -1"),
        ([0, 1], r"shape \(2,\)"),
        ([0.0, 1.0, 2.0], "type float64"),
    ],
)
def test_a_wrong_answer_is_refused(chosen, words):
    with pytest.raises(ValueError, match=f"mine answered with .*{words}.*Nothing was"):
        check_choice("mine", np.array(chosen), 53, 3)


@pytest.mark.parametrize(
    "scores, words",
    [
        ([0.0, np.inf, 1.0], r"the score inf \(at position 1\)"),
        ([np.nan, 0.0, 1.0], r"the score nan \(at position 0\)"),
        ([0.0, 1.0], r"scores of shape \(2,\)"),
        (None, r"scores of shape \(\)"),
        ([None, 0.0, 1.0], "scores of type object"),
    ],
)
def test_scores_that_say_nothing_are_refused(scores, words):
    with pytest.raises(ValueError, match=f"mine answered with {words}.*Nothing was"):
        check_scores("mine", np.array(scores), 3)


def test_a_strategy_that_needs_what_there_is_not_is_refused():
    with pytest.raises(ValueError, match="Strategy.needs: .*'embeddings'; did you"):
        Strategy(lambda query: None, frozenset({"embeddings"}))
