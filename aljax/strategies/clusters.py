"""Clusters of embeddings: k-means over the devices, or a hierarchy of few images.

k-means: seeding by k-means++, then Lloyd's algorithm (Least Squares Quantization in
PCM, 1982) until no image changes its cluster, for at most ITERATIONS. The hierarchy:
average linkage, which needs the distance of every pair.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.cluster.hierarchy import fcluster, linkage

from aljax.machine.devices import Devices, fetch
from aljax.platforms import by_platform
from aljax.strategies.distances import Points, dot, nearer, points
from aljax.strategies.placing import (
    EVERYWHERE,
    SPLIT,
    padded,
    program,
    put,
    real_rows,
    summed,
    tiles,
)
from aljax.strategies.seeding import GONE, more_centres

ITERATIONS = 10


def k_means(
    embedding: np.ndarray, clusters: int, room: int, seed, devices: Devices, check
) -> np.ndarray:
    """Clusters rows in an order that was drawn.

    Args:
        embedding: `[N, D]`; the first row is the first centre.
        clusters: k, at most N.
        room: rows that are laid out, see `placing.room`.
        seed: of the centres after the first.
        devices: where they are laid out.
        check: called between pieces of work.

    Returns:
        `[N]` int32, clusters from 0; one without images is left out of nobody's count.
    """
    count = np.int32(len(embedding))
    laid_out = padded(embedding - embedding.mean(0), room)
    begun = program(begin, devices, (SPLIT, EVERYWHERE, EVERYWHERE), (SPLIT, SPLIT))
    rows, weights = begun(laid_out, laid_out[:1], count)
    more = more_centres(rows, weights, clusters - 1, seed, devices, check)
    centres = laid_out[[0, *more]]
    step = program(lloyd, devices, (SPLIT, EVERYWHERE, EVERYWHERE), (SPLIT, EVERYWHERE))
    before = None
    for _ in range(ITERATIONS):
        nearest, centres = step(rows, centres, count)
        assigned = fetch(nearest)[:count]
        check()
        if before is not None and (assigned == before).all():
            break
        before = assigned
    return assigned


def begin(
    rows: jax.Array, centre: jax.Array, count: jax.Array
) -> tuple[Points, jax.Array]:
    """Points of a device's rows, and squared distances to row 0 of all, `[1, D]`."""
    laid_out = points(rows)
    weights = jnp.where(real_rows(rows, count), jnp.inf, GONE)
    weights = nearer(laid_out, weights, points(centre), jnp.int32(1))
    return laid_out, put(weights, jnp.zeros(1, jnp.int32), GONE)


def lloyd(
    rows: Points, centres: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One iteration: the nearest of `[k, D]` to each row, and the means of those.

    Centres that nobody is nearest to stay where they are.
    """
    lengths = (centres * centres).sum(-1)

    def of_tile(sums, tile):
        h, real = tile
        squared = lengths - 2 * dot(h, centres)
        # The first of the nearest: on CPUs, argmin takes longer than this.
        is_nearest = squared == squared.min(-1, keepdims=True)
        nearest = jnp.where(is_nearest, jnp.arange(len(centres)), len(centres)).min(-1)
        group = jnp.where(real, nearest, len(centres))
        added = by_platform(h, group, cpu=one_by_one, default=by_product)
        return sums + added, nearest

    def one_by_one(h, group):
        return jax.ops.segment_sum(with_ones(h), group, len(centres))

    def by_product(h, group):  # which, on a GPU, has a fixed order
        members = jax.nn.one_hot(group, len(centres), axis=0)
        return lax.dot(members, with_ones(h), precision="highest")

    def with_ones(h):
        return jnp.concatenate([h, jnp.ones_like(h[:, :1])], -1)

    real = real_rows(rows.h, count)
    none = jnp.zeros((len(centres), centres.shape[1] + 1))
    sums, nearest = lax.scan(of_tile, none, tiles((rows.h, real)))
    sums = summed(sums)
    total, sizes = sums[:, :-1], sums[:, -1:]
    means = total / jnp.maximum(sizes, 1)
    return nearest.reshape(-1), jnp.where(sizes > 0, means, centres)


def hierarchy(embedding: np.ndarray, clusters: int) -> np.ndarray:
    """Cuts a tree of average linkage into at most so many clusters, `[N]` from 0."""
    if len(embedding) == 1:
        return np.zeros(1, np.int32)
    tree = linkage(embedding.astype(np.float64), "average")
    return fcluster(tree, clusters, "maxclust").astype(np.int32) - 1
