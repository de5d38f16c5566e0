"""BADGE on gradients that are made, and k-means++ by its probabilities."""

import importlib
import itertools

import jax
import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from aljax.machine.devices import choose_devices
from aljax.strategies import STRATEGIES, shuffled
from aljax.strategies.badge import gradient_factor
from aljax.strategies.distances import points
from tests.support.queries import POOLS, ROOM, make_query, outputs

seeding = importlib.import_module("aljax.strategies.seeding")


def gradients(some):
    """(p − e_ŷ) ⊗ h of each image, `[N, K·D]`."""
    p = softmax(some.logits.astype(np.float64), -1)
    p[np.arange(len(p)), p.argmax(-1)] -= 1
    return (p[:, :, None] * some.embedding[:, None]).reshape(len(p), -1)


def draws(seed, call, number, room):
    """The uniform numbers of a round."""
    key = jax.random.fold_in(jax.random.key(seed), call)
    key = jax.random.fold_in(key, number)
    least = np.finfo(np.float32).tiny
    return np.asarray(jax.random.uniform(key, (room, 4), minval=least), np.float64).T


def arrivals(weights, drawn):
    """Who arrives when, and by which number it is decided: first and second times."""
    first, second, decide, decide_again = drawn[:, : len(weights)]
    once, again = -np.log(first), -np.log(first) - np.log(second)
    events = []
    for x, weight in enumerate(weights):
        if weight > 0:
            events.append((once[x] / weight, x, False, decide[x]))
            events.append((again[x] / weight, x, True, decide_again[x]))
        elif weight == 0 and not (weights > 0).any():
            events.append((once[x], x, False, -1))  # taken whatever happens
    return sorted(events)


def plus_plus(every, chosen, count, seed, room):
    """k-means++ by a matrix of all squared distances, one arrival at a time."""
    for turn in itertools.count():
        call, number = divmod(turn, seeding.ROUNDS)
        weights = every[:, chosen].min(1)
        weights[chosen] = -1
        rates = weights.copy()
        for _, x, twice, decide in arrivals(rates, draws(seed, call, number, room)):
            now = min(rates[x], every[x, chosen].min()) if x not in chosen else 0
            if decide * rates[x] < now or decide < 0:
                chosen.append(x)
            if len(chosen) == count:
                return chosen
            if twice:
                break


def definition(query):
    order = shuffled(query.random, query.count, query.count)
    seed = int(query.random.random_raw(1)[0]) >> 32
    g = gradients(query.candidates)[order]
    every = ((g[:, None] - g) ** 2).sum(-1)
    first = int((g**2).sum(-1).argmax())
    if query.budget == 1:
        return order[[first]]
    return order[plus_plus(every, [first], query.budget, seed, ROOM)]


EXACT = sorted({*POOLS} - {"all the same"})


@pytest.mark.parametrize("pool", EXACT)
def test_as_with_gradients_that_are_made(pool):
    chosen = STRATEGIES["badge"].select(POOLS[pool]())
    np.testing.assert_array_equal(chosen, definition(POOLS[pool]()))


def test_a_copy_is_not_chosen_while_others_are_left():
    query = POOLS["duplicates"]()
    chosen = STRATEGIES["badge"].select(query)
    assert len(set((chosen[:13] % 13).tolist())) == 13


def test_sure_answers_have_gradients():
    """1 − p is e^-40, which float64 cannot subtract from 1."""
    q = gradient_factor(np.float32([[40, 0], [0, 3]]))
    left = np.exp(-40.0)
    np.testing.assert_allclose(q[0], [-left, left], rtol=1e-5)
    np.testing.assert_allclose(q[1].sum(), 0, atol=1e-7)


def sequence_probabilities(every, first, count):
    """How probable each sequence of choices is, from the definition."""
    found = {(first,): 1.0}
    for _ in range(count):
        longer = {}
        for chosen, chance in found.items():
            weights = every[:, chosen].min(1)
            for x in np.flatnonzero(weights):
                longer[(*chosen, int(x))] = chance * weights[x] / weights.sum()
        found = longer
    return found


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_sequences_come_as_often_as_k_means_plus_plus_says(spread):
    """Also with weights of very different size, where points arrive twice."""
    h = np.random.default_rng(5).normal(0, 1, (5, 2)).astype(np.float32)
    h[0] *= spread
    every = ((h[:, None].astype(np.float64) - h) ** 2).sum(-1)
    rows, weights = points(h), every[:, 1].astype(np.float32)
    weights[1] = seeding.GONE
    expected = sequence_probabilities(every, 1, 3)
    counts, devices = dict.fromkeys(expected, 0), choose_devices(1)
    for seed in range(2000):
        check = lambda: None  # noqa: E731
        more = seeding.more_centres(rows, weights, 3, np.uint32(seed), devices, check)
        counts[(1, *more)] += 1
    seen = np.array(list(counts.values()))
    wanted = 2000 * np.array(list(expected.values()))
    rare = wanted < 5
    if rare.any():
        seen = np.append(seen[~rare], seen[rare].sum())
        wanted = np.append(wanted[~rare], wanted[rare].sum())
    assert stats.chisquare(seen, wanted).pvalue > 1e-3


@pytest.mark.parametrize("arrivals, rounds", [(3, 2), (1, 1)])
def test_pieces_of_any_size_choose_the_budget(monkeypatch, arrivals, rounds):
    monkeypatch.setattr(seeding, "ARRIVALS", arrivals)
    monkeypatch.setattr(seeding, "ROUNDS", rounds)
    chosen = STRATEGIES["badge"].select(make_query(outputs(40), 40))
    assert sorted(chosen.tolist()) == list(range(40))
