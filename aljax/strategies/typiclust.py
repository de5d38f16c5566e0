"""TypiClust: the most typical image of the largest clusters that have no label yet.

Hacohen, Dekel & Weinshall, Active Learning on a Budget: Opposite Strategies Suit High
and Low Budgets, ICML 2022 (arXiv 2202.02794), algorithm 1: labelled images and
candidates are clustered together, by k-means with k = min(|L| + budget,
`config.query.clusters`). Of the clusters in turn, those with the fewest labels first
and of these the largest, take the candidate with the highest

    typicality(x) = (1/n Σ |x − x_i|)⁻¹  over the n nearest candidates in its cluster

n is `config.query.neighbours`, or half of the cluster's candidates where these are
fewer; images that are labelled or chosen are nobody's neighbours.

The paper clusters the embedding of a network trained without labels; **here it is the
learner's own**, that of the cycle before. As in the authors' code (avihu111/TypiClust,
deep-al/pycls/al/typiclust.py), clusters of five images or fewer have no turn, and the
turns go round until the budget is full; small clusters follow once all others are
bought, where that code fails. It averages squared distances; the paper's formula is
followed.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from aljax.machine.devices import AXIS, fetch
from aljax.strategies.clusters import k_means
from aljax.strategies.distances import Points, points, squared_distances
from aljax.strategies.placing import (
    SMALL_TILE,
    SPLIT,
    candidates_room,
    drawn_seed,
    first_row,
    joined,
    padded,
    program,
    room,
    tiles,
)
from aljax.strategies.strategy import Query, shuffled

SMALL = 5  # images of a cluster that has no turn
SPARE = 8  # more neighbours than count, for as many rounds in which some are taken


def select(query: Query) -> np.ndarray:
    """The choice, `[budget]`; needs the embedding, also of labelled images."""
    order, cluster, labelled = clusters_of_all(query)
    # Sorted by cluster, so that neighbours are near each other in memory too.
    by_cluster = np.argsort(cluster, kind="stable")
    order, cluster = order[by_cluster], cluster[by_cluster]
    turn, large = turns(cluster, labelled)
    rows = laid_out(query, order, cluster)
    free = np.ones(query.count, bool)
    chosen: list[int] = []
    for number in itertools.count():
        if number % SPARE == 0:
            neighbours = near(query, *rows, free)
        distances = mean_distances(*neighbours, cluster, free, query.options.neighbours)
        found = most_typical(distances, cluster, free)
        found = found[np.argsort(turn[cluster[found]])]
        first = found[turn[cluster[found]] < large]
        found = (first if len(first) else found)[: query.budget - len(chosen)]
        chosen += found.tolist()
        free[found] = False
        query.check()
        if len(chosen) == query.budget:
            return order[chosen]


def clusters_of_all(query: Query) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters labelled images and candidates.

    Returns:
        The order in which candidates are laid out, `[N]`, their clusters in that order,
        and the clusters of labelled images, `[L]`.
    """
    labels, options = len(query.labelled.embedding), query.options
    both = np.concatenate([query.labelled.embedding, query.candidates.embedding])
    drawn = shuffled(query.random, len(both), len(both))
    seed = drawn_seed(query)
    most = max(len(both), query.most_candidates + query.most_labelled)
    clusters = min(labels + query.budget, options.clusters, len(both))
    run = room(most, query.devices), seed, query.devices, query.check
    cluster = k_means(both[drawn], clusters, *run)
    candidate = drawn >= labels
    return drawn[candidate] - labels, cluster[candidate], cluster[~candidate]


def turns(cluster: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, int]:
    """The turn of each cluster, and how many are large; the turns of small ones follow.

    Args:
        cluster: of candidates.
        labelled: of labelled images.
    """
    clusters = 1 + max(cluster.max(), labelled.max(initial=0))
    labels = np.bincount(labelled, minlength=clusters)
    sizes = labels + np.bincount(cluster, minlength=clusters)
    turn = np.empty(clusters, np.int64)
    turn[np.lexsort((-sizes, labels, sizes <= SMALL))] = np.arange(clusters)
    return turn, int((sizes > SMALL).sum())


def most_typical(distances: np.ndarray, cluster: np.ndarray, free: np.ndarray):
    """Of each cluster the free candidate with the smallest mean distance; positions."""
    left = np.flatnonzero(free)
    left = left[np.lexsort((distances[left], cluster[left]))]
    return left[np.unique(cluster[left], return_index=True)[1]]


def laid_out(query: Query, order: np.ndarray, cluster: np.ndarray):
    """Candidates on the devices, and their clusters; each row that fills up has one."""
    size = candidates_room(query)
    embedding = query.candidates.embedding
    rows = padded(embedding[order] - embedding.mean(0), size)
    own = np.arange(len(cluster), size) + cluster[-1] + 1
    begun = program(points, query.devices, (SPLIT,), SPLIT)
    return begun(rows), np.concatenate([cluster, own]).astype(np.int32)


def near(query: Query, rows: Points, clusters: np.ndarray, free: np.ndarray):
    """Distances of each candidate to its nearest free neighbours, and their positions.

    SPARE more than count, `[N, m]` each; infinite where there are not so many.
    """
    most = query.options.neighbours + SPARE
    run = program(nearest_rows, query.devices, (SPLIT,) * 3, (SPLIT, SPLIT), most)
    found = run(rows, clusters, padded(free, len(clusters)))
    return tuple(fetch(x)[: query.count] for x in found)


def mean_distances(
    distances: np.ndarray,
    neighbours: np.ndarray,
    cluster: np.ndarray,
    free: np.ndarray,
    most: int,
) -> np.ndarray:
    """Mean distance of each candidate to those of its neighbours that count, `[N]`."""
    members = np.bincount(cluster[free], minlength=cluster[-1] + 1)
    wanted = np.minimum(most, members // 2)[cluster]
    left = free[neighbours] & np.isfinite(distances)
    counted = left & (left.cumsum(-1) <= wanted[:, None])
    return np.where(counted, distances, 0).sum(-1) / np.maximum(wanted, 1)


def nearest_rows(
    most: int, rows: Points, cluster: jax.Array, free: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The nearest free rows of the same cluster.

    Args:
        most: static, how many.
        rows: of this device; those of all are sorted by cluster.
        cluster: `[n]`.
        free: `[n]`, whether a row is a neighbour of others.

    Returns:
        Distances `[n, most]`, infinite where there are fewer, and positions.
    """
    devices = lax.axis_size(AXIS)
    positions = first_row(cluster) + jnp.arange(len(cluster))
    visiting = own = rows, cluster, free, positions
    shape = len(cluster), most
    nearest = jnp.full(shape, jnp.inf), jnp.zeros(shape, jnp.int32)
    for _ in range(devices):  # the rows of every device pass by
        closer = functools.partial(nearest_in, visiting)
        nearest = joined(lax.map(closer, tiles((own, nearest), SMALL_TILE)))
        if devices > 1:
            around = [(i, (i + 1) % devices) for i in range(devices)]
            visiting = lax.ppermute(visiting, AXIS, around)
    return jnp.sqrt(nearest[0]), nearest[1]


def nearest_in(visiting, tile) -> tuple[jax.Array, jax.Array]:
    """Squared distances and positions of the nearest, once others may be among them."""
    (some, cluster, _, positions), nearest = tile
    others, clusters, free, places = visiting
    size = min(len(clusters), SMALL_TILE)

    def block(i, nearest):
        cut = functools.partial(
            lax.dynamic_slice_in_dim, start_index=i * size, slice_size=size
        )
        squared = squared_distances(some, jax.tree.map(cut, others))
        neighbour = (cluster[:, None] == cut(clusters)) & cut(free)
        neighbour &= positions[:, None] != cut(places)
        squared = jnp.where(neighbour, squared, jnp.inf)
        both = jnp.concatenate([nearest[0], squared], -1)
        places_of_both = jnp.concatenate(
            [nearest[1], jnp.broadcast_to(cut(places), squared.shape)], -1
        )
        few, kept = lax.top_k(-both, nearest[0].shape[-1])
        return -few, jnp.take_along_axis(places_of_both, kept, -1)

    first = jnp.searchsorted(clusters, cluster[0], side="left") // size
    last = jnp.searchsorted(clusters, cluster[-1], side="right")
    return lax.fori_loop(first, (last + size - 1) // size, block, nearest)
