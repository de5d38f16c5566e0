"""Cluster-Margin: images with the smallest margins, from as many clusters as can be.

Citovsky et al., Batch Active Learning at Scale, NeurIPS 2021 (arXiv 2107.14263),
algorithm 1:

    M   the k_m = oversample · budget candidates with the smallest margins p₍₁₎ − p₍₂₎
    A   the clusters of M, by their number of images in M, the smallest first
    take one image at random of each cluster in turn, until the budget is full

No code of the authors is public. They cluster once, before any training, by average
linkage; here the embedding is the learner's own, new in each cycle, and so are the
clusters. Average linkage takes the distances of all pairs, so more than HIERARCHY
candidates are clustered by k-means; `config.query.clusters` takes the place of their
threshold of distance.
"""

import math

import numpy as np

from aljax.strategies.clusters import hierarchy, k_means
from aljax.strategies.placing import candidates_room, drawn_order, drawn_seed
from aljax.strategies.scores import log_odds_of_tie
from aljax.strategies.strategy import Query, highest

HIERARCHY = 2048  # candidates; their distances take 16 MB


def select(query: Query) -> np.ndarray:
    """The choice, `[budget]`; needs logits and the embedding."""
    order, room = drawn_order(query), candidates_room(query)
    seed = drawn_seed(query)
    embedding = query.candidates.embedding[order]
    most = min(query.options.clusters, query.count)
    if query.count <= HIERARCHY:
        cluster = hierarchy(embedding, most)
    else:
        run = query.devices, query.check
        cluster = k_means(embedding, most, room, seed, *run)
    unsure = log_odds_of_tie(query.candidates.logits[order])
    kept = min(math.ceil(query.options.oversample * query.budget), query.count)
    among = highest(unsure, kept, query.random)
    return order[among[in_turn(cluster[among], query.random)[: query.budget]]]


def in_turn(cluster: np.ndarray, random: np.random.Philox) -> np.ndarray:
    """One of each cluster in turn, the smallest first, until all of `[M]` are taken.

    Clusters of one size come in an order that is drawn, and so do the members of one.
    """
    _, member_of, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    draws = random.random_raw(len(cluster))
    by_cluster = np.lexsort((draws, member_of))
    starts = np.cumsum(sizes) - sizes
    turn = np.empty(len(cluster), np.int64)
    turn[by_cluster] = np.arange(len(cluster)) - np.repeat(starts, sizes)
    # The draw of a cluster is that of its first member.
    lot = draws[by_cluster[starts]]
    return np.lexsort((lot[member_of], sizes[member_of], turn))
