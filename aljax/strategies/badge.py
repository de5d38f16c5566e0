"""BADGE: k-means++ on the gradients that images would cause in the last layer.

Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds, ICLR
2020 (arXiv 1906.03671), algorithm 1. With the network's own answer ŷ for a label,

    g = q ⊗ h,  q = p − e_ŷ
    |g − g'|² = |q|²|h|² + |q'|²|h'|² − 2 (q·q')(h·h')

where h is the embedding. The second form needs no gradient of K·D numbers for each
image. The paper seeds by k-means++ and does not say how the first image is drawn; it is
that of the largest gradient, as in the authors' code (JordanAsh/badge,
query_strategies/badge_sampling.py). Images without any gradient are drawn evenly once
nothing else is left, where that code stops.
"""

import jax
import jax.numpy as jnp
import numpy as np

from aljax.strategies.distances import Points, nearer, points
from aljax.strategies.placing import (
    EVERYWHERE,
    SPLIT,
    candidates_room,
    drawn_order,
    drawn_seed,
    first_row,
    gathered,
    padded,
    program,
    put,
    real_rows,
    take,
)
from aljax.strategies.scores import log_softmax
from aljax.strategies.seeding import GONE, more_centres
from aljax.strategies.strategy import Query


def select(query: Query) -> np.ndarray:
    """The choice, `[budget]`; needs logits and the embedding."""
    order, room = drawn_order(query), candidates_room(query)
    seed = drawn_seed(query)
    embedding = padded(query.candidates.embedding[order], room)
    factor = padded(gradient_factor(query.candidates.logits[order]), room)
    specs = (SPLIT, SPLIT, EVERYWHERE), (SPLIT, SPLIT, EVERYWHERE)
    rows, weights, first = program(begin, query.devices, *specs)(
        embedding, factor, np.int32(query.count)
    )
    others = more_centres(
        rows, weights, query.budget - 1, seed, query.devices, query.check
    )
    return order[[int(first), *others]]


def gradient_factor(logits: np.ndarray) -> np.ndarray:
    """q = p − e_ŷ, `[N, K]` float32; −(1 − p) of a sure answer is not rounded to 0."""
    by_likelihood = logits.argsort(-1)
    p = np.exp(log_softmax(logits))
    p[:, -1] = -p[:, :-1].sum(-1)
    q = np.empty_like(p)
    np.put_along_axis(q, by_likelihood, p, -1)
    return q.astype(np.float32)


def begin(
    embedding: jax.Array, factor: jax.Array, count: jax.Array
) -> tuple[Points, jax.Array, jax.Array]:
    """Points of a device's rows, distances to the first choice, and its position."""
    rows = points(embedding, factor)
    real = real_rows(embedding, count)
    lengths = jnp.where(real, rows.squares, GONE)
    longest = lengths.argmax()[None]
    found = lengths[longest], first_row(embedding) + longest, take(rows, longest)
    lengths, positions, centres = gathered(found)
    first = lengths.argmax()[None]
    weights = jnp.where(real, jnp.inf, GONE)
    weights = nearer(rows, weights, take(centres, first), jnp.int32(1))
    return rows, put(weights, positions[first], GONE), positions[first[0]]
