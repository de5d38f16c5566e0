"""Cluster-Margin against loops over clusters, by a hierarchy and by k-means."""

import importlib
import math

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.special import softmax

from aljax.strategies import STRATEGIES, Options, shuffled
from aljax.strategies.cluster_margin import in_turn
from tests.support.queries import POOLS, make_query, outputs

module = importlib.import_module("aljax.strategies.cluster_margin")
EXACT = ("plain", "one bought", "all bought", "two classes", "none labelled")


def round_robin(clusters, random):
    """Positions, one of each cluster in turn; lists of members are emptied."""
    draws = random.random_raw(len(clusters))
    members = {}
    for x in np.argsort(draws):
        members.setdefault(int(clusters[x]), []).append(int(x))
    queues = sorted(members.values(), key=lambda xs: (len(xs), draws[xs[0]]))
    taken = []
    while any(queues):
        taken += [queue.pop(0) for queue in queues if queue]
    return taken


def definition(query, most):
    order = shuffled(query.random, query.count, query.count)
    query.random.random_raw(1)
    h, z = query.candidates.embedding[order], query.candidates.logits[order]
    clusters = fcluster(linkage(h.astype(np.float64), "average"), most, "maxclust")
    p = np.sort(softmax(z.astype(np.float64), -1), -1)
    margins = p[:, -1] - p[:, -2]
    kept = min(math.ceil(query.options.oversample * query.budget), query.count)
    query.random.random_raw(query.count)
    among = np.argsort(margins)[:kept]
    turns = round_robin(clusters[among], query.random)
    return order[among[turns[: query.budget]]]


@pytest.mark.parametrize("pool", EXACT)
@pytest.mark.parametrize("clusters", [500, 8])
def test_as_by_loops(pool, clusters):
    options = Options(clusters=clusters, oversample=1.5)

    def query():
        found = POOLS[pool]()
        return make_query(found.candidates, found.budget, options=options)

    chosen = STRATEGIES["cluster_margin"].select(query())
    expected = definition(query(), min(clusters, query().count))
    np.testing.assert_array_equal(chosen, expected)


def test_turns_by_hand():
    """Clusters of one, two and three images."""
    clusters = np.array([7, 7, 2, 5, 7, 2])
    turns = in_turn(clusters, np.random.Philox(key=0))
    assert clusters[turns].tolist() == [5, 2, 7, 2, 7, 7]
    assert sorted(turns.tolist()) == list(range(6))


def test_large_pools_are_clustered_by_k_means(monkeypatch):
    """Two groups, of which one has most of the unsure images: both get a turn."""
    monkeypatch.setattr(module, "HIERARCHY", 10)
    some = outputs(53)
    some.embedding[:] = np.where(np.arange(53)[:, None] < 5, 100, 0)
    some.embedding[:] += outputs(53, seed=1).embedding * 0.01
    some.logits[:] = 0
    some.logits[:, 0] = np.arange(53)  # the first are the least sure
    options = Options(clusters=2, oversample=2.0)
    chosen = STRATEGIES["cluster_margin"].select(make_query(some, 8, options=options))
    assert (chosen < 16).all()
    assert (chosen[:8:2] < 5).sum() in (0, 4) and (chosen < 5).sum() == 4
