"""TypiClust against loops over clusters, written as the authors' code is."""

import importlib

import numpy as np
import pytest

from aljax.strategies import STRATEGIES, Options
from aljax.strategies.typiclust import clusters_of_all
from tests.support.queries import POOLS, make_query, outputs

module = importlib.import_module("aljax.strategies.typiclust")


def mean_distance(h, x, others, neighbours):
    n = min(neighbours, (len(others) + 1) // 2)
    distances = np.sort(np.linalg.norm(h[others] - h[x], axis=-1))[:n]
    return distances.mean() if n else 0.0


def definition(query):
    """One image at a time; small clusters after all others."""
    order, cluster, labelled = clusters_of_all(query)
    h = query.candidates.embedding[order].astype(np.float64)
    names, sizes = np.unique(np.append(cluster, labelled), return_counts=True)
    counts = {c: (labelled == c).sum() for c in names}
    groups = [[], []]
    for c, size in sorted(zip(names, sizes, strict=True)):
        groups[int(size <= module.SMALL)].append((counts[c], -size, c))
    free, chosen = set(range(query.count)), []
    for group in groups:
        queue = [c for *_, c in sorted(group)]
        while len(chosen) < query.budget and any(cluster[x] in queue for x in free):
            for c in queue:
                members = sorted(x for x in free if cluster[x] == c)
                if not members or len(chosen) == query.budget:
                    continue
                means = [
                    mean_distance(
                        h, x, [y for y in members if y != x], query.options.neighbours
                    )
                    for x in members
                ]
                best = members[int(np.argmin(means))]
                chosen.append(best)
                free.remove(best)
    return order[chosen]


@pytest.mark.parametrize("pool", sorted({*POOLS} - {"equal distances"}))
@pytest.mark.parametrize("clusters, neighbours", [(6, 3), (500, 20)])
def test_as_by_loops(pool, clusters, neighbours):
    def query():
        found = POOLS[pool]()
        options = Options(clusters=clusters, neighbours=neighbours)
        return make_query(
            found.candidates, found.budget, found.labelled, options=options
        )

    chosen = STRATEGIES["typiclust"].select(query())
    expected = definition(query())
    if pool in ("duplicates", "all the same"):  # equals may come in any order
        h = query().candidates.embedding
        np.testing.assert_array_equal(h[chosen], h[expected])
    else:
        np.testing.assert_array_equal(chosen, expected)


def test_many_rows():
    """More rows than a tile of distances, and neighbours in the next tile."""
    options = Options(clusters=5, neighbours=7)

    def query():
        return make_query(
            outputs(700), 30, outputs(40, seed=3), options=options, most_candidates=0
        )

    chosen = STRATEGIES["typiclust"].select(query())
    np.testing.assert_array_equal(chosen, definition(query()))


def test_clusters_without_labels_come_first():
    """Three groups; the largest has a label."""
    places = np.repeat([0.0, 50.0, 100.0], [20, 10, 15])
    some = outputs(45)
    some.embedding[:] = some.embedding * 0.01
    some.embedding[:, 0] += places
    labelled = outputs(1)
    labelled.embedding[:] = 0
    options = Options(clusters=3, neighbours=5)
    query = make_query(some, 5, labelled, options=options)
    chosen = STRATEGIES["typiclust"].select(query)
    assert places[chosen].tolist() == [100, 50, 0, 100, 50]
