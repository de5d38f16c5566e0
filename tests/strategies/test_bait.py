"""BAIT against traces of inverses, candidate by candidate."""

import importlib
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from aljax.strategies import STRATEGIES, Options, shuffled
from tests.support.queries import POOLS, make_query, outputs

module = importlib.import_module("aljax.strategies.bait")


def embeddings(some, form):
    """V of each image, `[N, R, C·D]` float64."""
    p = softmax(some.logits.astype(np.float64), -1)
    h = some.embedding.astype(np.float64)
    if form == "binary":
        sure = p.max(-1)
        return (np.sqrt(sure * (1 - sure))[:, None] * h)[:, None]
    each = np.eye(p.shape[-1]) - p[:, None]
    v = np.sqrt(p)[:, :, None, None] * each[..., None] * h[:, None, None]
    return v.reshape(len(p), p.shape[-1], p.shape[-1] * h.shape[-1])


def definition(query, form):
    """Forward and backward by dense inverses; also how near the runner-up was."""
    order, budget = shuffled(query.random, query.count, query.count), query.budget
    v, bought = embeddings(query.candidates, form)[order], len(query.labelled.logits)
    labelled = embeddings(query.labelled, form).reshape(-1, v.shape[-1])
    target = (v.reshape(-1, v.shape[-1]).T @ v.reshape(-1, v.shape[-1])) + (
        labelled.T @ labelled
    )
    target /= query.count + bought
    a = query.options.regularisation * np.eye(len(target))
    a += labelled.T @ labelled / (bought + budget)
    v *= np.sqrt(budget / (bought + budget))
    information = v.transpose(0, 2, 1) @ v
    chosen, gaps = [], []

    def best(among, sign):
        traces = [
            np.trace(np.linalg.inv(a + sign * information[x]) @ target) for x in among
        ]
        first, second = np.sort([*traces, np.inf])[:2]
        gaps.append((second - first) / abs(first))
        return among[int(np.argmin(traces))]

    for _ in range(min(2 * budget, query.count)):
        chosen.append(best([x for x in range(query.count) if x not in chosen], 1))
        a += information[chosen[-1]]
    while len(chosen) > budget:
        removed = best(chosen, -1)
        chosen.remove(removed)
        a -= information[removed]
    return order[chosen], min(gaps)


@pytest.mark.parametrize("form", ["binary", "full"])
@pytest.mark.parametrize(
    "pool", ["plain", "one bought", "all bought", "none labelled", "two classes"]
)
def test_as_by_inverses(pool, form):
    def query():
        found = POOLS[pool]()
        options = Options(fisher=form, regularisation=0.3)
        return make_query(
            found.candidates, min(found.budget, 12), found.labelled, options=options
        )

    chosen = STRATEGIES["bait"].select(query())
    expected, gap = definition(query(), form)
    assert gap > 1e-6, "a tie: choose another seed"
    np.testing.assert_array_equal(chosen, expected)


def trace(query, chosen, form):
    """What the choice leaves unexplained."""
    v, bought = embeddings(query.candidates, form), len(query.labelled.logits)
    labelled = embeddings(query.labelled, form).reshape(-1, v.shape[-1])
    everything = np.concatenate([v.reshape(-1, v.shape[-1]), labelled])
    target = everything.T @ everything / (query.count + bought)
    scale, some = bought + query.budget, v[chosen].reshape(-1, v.shape[-1])
    a = query.options.regularisation * np.eye(len(target))
    a += labelled.T @ labelled / scale + query.budget / scale * some.T @ some
    return np.trace(np.linalg.inv(a) @ target)


@pytest.mark.parametrize("form", ["binary", "full"])
@pytest.mark.parametrize("pool", POOLS)
def test_leaves_no_more_than_the_definition_does(pool, form):
    """Equals and near equals may be chosen for each other."""

    def query():
        found = POOLS[pool]()
        options = Options(fisher=form)
        return make_query(
            found.candidates, min(found.budget, 8), found.labelled, options=options
        )

    chosen = STRATEGIES["bait"].select(query())
    expected, _ = definition(query(), form)
    wanted = trace(query(), expected, form)
    assert trace(query(), chosen, form) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("form", ["binary", "full"])
def test_pieces_of_any_size_give_the_same(monkeypatch, form):
    options = Options(fisher=form)
    whole = STRATEGIES["bait"].select(make_query(budget=20, options=options))
    monkeypatch.setattr(module, "STEPS", 7)
    pieces = STRATEGIES["bait"].select(make_query(budget=20, options=options))
    np.testing.assert_array_equal(pieces, whole)


@pytest.mark.parametrize("form, width", [("binary", 64), ("full", 24)])
def test_what_rounding_hides_is_refused(form, width):
    """λ is all there is in dimensions that no image has."""

    def select(regularisation):
        random = np.random.default_rng(0)
        some, bought = (
            replace(outputs(n), embedding=3 * random.normal(size=(n, width)))
            for n in (40, 2)
        )
        options = Options(fisher=form, regularisation=regularisation)
        query = make_query(some, 10, bought, options=options)
        return STRATEGIES["bait"].select(query)

    with pytest.raises(ValueError, match="regularisation: 1e-08 is lost in rounding"):
        select(1e-8)
    assert len(select(1.0)) == 10


def test_auto_is_full_where_that_is_small(monkeypatch):
    def chosen(form):
        options = Options(fisher=form)
        return (
            STRATEGIES["bait"].select(make_query(budget=12, options=options)).tolist()
        )

    assert chosen("full") != chosen("binary")
    assert chosen("auto") == chosen("full")
    monkeypatch.setattr(module, "FULL_ROWS", 29)  # of 5 classes x 6 dimensions
    assert chosen("auto") == chosen("binary")


def test_more_rows_than_a_tile():
    options = Options(fisher="binary")
    some = dict(budget=10, options=options, most_candidates=0)
    chosen = STRATEGIES["bait"].select(make_query(outputs(400), **some))
    expected, _ = definition(make_query(outputs(400), **some), "binary")
    np.testing.assert_array_equal(chosen, expected)
