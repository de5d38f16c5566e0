"""Greedy k-center against its definition, one choice at a time."""

import importlib

import numpy as np
import pytest

from aljax.strategies import STRATEGIES, shuffled
from tests.support.queries import POOLS, make_query, outputs

module = importlib.import_module("aljax.strategies.k_center")


def definition(query):
    """The choice, image by image, from a matrix of all distances."""
    order = shuffled(query.random, query.count, query.count)
    h = query.candidates.embedding[order].astype(np.float64)
    labelled = query.labelled.embedding.astype(np.float64)
    every = np.linalg.norm(h[:, None] - np.concatenate([labelled, h]), axis=-1)
    centres, chosen = list(range(len(labelled))), []
    for _ in range(query.budget):
        nearest = every[:, centres].min(1, initial=np.inf)
        nearest[chosen] = -1
        chosen.append(nearest.argmax())
        centres.append(len(labelled) + chosen[-1])
    return order[chosen]


def check_greedy(query, chosen):
    """Each choice is as far away as any could be, but for float32's rounding."""
    h = query.candidates.embedding.astype(np.float64)
    centres = query.labelled.embedding.astype(np.float64)
    left = np.ones(query.count, bool)
    for one in chosen:
        far = np.linalg.norm(h[:, None] - centres, axis=-1).min(1, initial=np.inf)
        if np.isfinite(far).all():
            assert far[one] >= far[left].max() - 1e-4 * np.abs(h).max()
        left[one] = False
        centres = np.concatenate([centres, h[[one]]])


@pytest.mark.parametrize("pool", POOLS)
def test_every_choice_is_the_farthest(pool):
    chosen = STRATEGIES["k_center"].select(POOLS[pool]())
    check_greedy(POOLS[pool](), chosen)
    if pool not in ("duplicates", "all the same", "equal distances"):
        np.testing.assert_array_equal(chosen, definition(POOLS[pool]()))


@pytest.mark.parametrize("active, rounds, centres", [(4, 2, 3), (1, 1, 64), (64, 1, 8)])
def test_pieces_of_any_size_give_the_same(monkeypatch, active, rounds, centres):
    whole = STRATEGIES["k_center"].select(make_query(budget=40))
    for name, value in (("ACTIVE", active), ("ROUNDS", rounds), ("CENTRES", centres)):
        monkeypatch.setattr(module, name, value)
    pieces = STRATEGIES["k_center"].select(make_query(budget=40))
    np.testing.assert_array_equal(pieces, whole)
    np.testing.assert_array_equal(whole, definition(make_query(budget=40)))


def test_many_rows_and_centres():
    """More than a tile of rows, and more than a block of centres."""
    query = dict(budget=300, labelled=outputs(200, seed=2), most_candidates=0)
    chosen = STRATEGIES["k_center"].select(make_query(outputs(3000), **query))
    expected = definition(make_query(outputs(3000), **query))
    np.testing.assert_array_equal(chosen, expected)
