"""k-center, greedily: the image farthest from all that is labelled or chosen.

Sener & Savarese, Active Learning for Convolutional Neural Networks: A Core-Set
Approach, ICLR 2018 (arXiv 1708.00489), algorithm 1: repeat

    u = argmax over candidates of  min over labelled and chosen l of |h(u) − h(l)|

with h the embedding. Without labelled images the first is drawn, as in
google/active-learning, sampling_methods/kcenter_greedy.py; so are equals.

The distances of all candidates are brought up to date by large products of matrices,
for many choices at once. Between two of them the few farthest candidates are enough: as
long as one of them is farther than all others were, it is the farthest, since distances
only fall.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from aljax.strategies.distances import (
    MANY,
    Points,
    nearer,
    points,
    squared_distances,
)
from aljax.strategies.placing import (
    EVERYWHERE,
    SPLIT,
    all_rows,
    blocks,
    candidates_room,
    drawn_order,
    first_row,
    gathered,
    padded,
    program,
    put,
    real_rows,
    take,
)
from aljax.strategies.strategy import Query

CENTRES = 1024  # labelled images that one call takes in
ACTIVE = 1024  # the farthest candidates, and the most choices of one call
ROUNDS = 8  # of one call; each brings all distances up to date
GONE = -1.0  # in place of a distance: chosen, or no candidate


def select(query: Query) -> np.ndarray:
    """The choice, `[budget]`; needs the embedding, also of labelled images."""
    order, room = drawn_order(query), candidates_room(query)
    # Distances do not change, and small numbers round less.
    mean = query.candidates.embedding.mean(0)
    rows = padded(query.candidates.embedding[order] - mean, room)
    run = query.devices
    state = program(begin, run, (SPLIT, EVERYWHERE), (SPLIT, SPLIT))(
        rows, np.int32(query.count)
    )
    absorb = program(take_in, run, (SPLIT, SPLIT, EVERYWHERE, EVERYWHERE), SPLIT)
    for labelled, count in blocks(query.labelled.embedding - mean, CENTRES):
        state = state[0], absorb(*state, labelled, count)
        jax.block_until_ready(state[1])
        query.check()
    specs = (SPLIT, SPLIT, EVERYWHERE), (SPLIT, EVERYWHERE, EVERYWHERE)
    advance = program(choose, run, *specs, ACTIVE, ROUNDS)
    chosen: list[int] = []
    while len(chosen) < query.budget:
        left = np.int32(query.budget - len(chosen))
        nearest, picks, count = advance(*state, left)
        state = state[0], nearest
        chosen += np.asarray(picks)[: int(count)].tolist()
        query.check()
    return order[chosen]


def begin(rows: jax.Array, count: jax.Array) -> tuple[Points, jax.Array]:
    """Points of a device's rows, and their distances while there is no centre."""
    return points(rows), jnp.where(real_rows(rows, count), jnp.inf, GONE)


def take_in(
    rows: Points, nearest: jax.Array, centres: jax.Array, count: jax.Array
) -> jax.Array:
    """Distances `[n]` once the first `count` of `[m, D]` are centres too."""
    return nearer(rows, nearest, points(centres), count, MANY)


def farthest(rows: Points, nearest: jax.Array, most: int):
    """The farthest candidates of all devices, in order of position.

    Returns:
        On every device: their points, distances and positions, `most` of each, and the
        largest distance of the others.
    """
    # Sorting is stable: of equals, those with the lowest positions are taken.
    distances, places = lax.top_k(nearest, min(most + 1, len(nearest)))
    found = gathered((distances, first_row(nearest) + places, take(rows, places)))
    distances, order = lax.top_k(found[0], min(most + 1, len(found[0])))
    outside = distances[most] if len(distances) > most else GONE
    order = order[:most][jnp.argsort(found[1][order[:most]])]
    return *take(found, order), outside


def choose_among(few: Points, distances: jax.Array, outside: jax.Array, left):
    """Greedy choices among a few candidates, while one of them is the farthest of all.

    Returns:
        Which of them, in order, `[m]`, and how many.
    """

    def farther(carry):
        distances, _, number = carry
        return (number < left) & (distances.max() >= outside)

    def one(carry):
        distances, picked, number = carry
        best = distances.argmax()
        new = squared_distances(take(few, best[None]), few)[0]
        distances = jnp.minimum(distances, new).at[best].set(GONE)
        return distances, picked.at[number].set(best), number + 1

    none = jnp.zeros(len(distances), jnp.int32), jnp.int32(0)
    return lax.while_loop(farther, one, (distances, *none))[1:]


def choose(most: int, rounds: int, rows: Points, nearest: jax.Array, left: jax.Array):
    """The next of the greedy choices, at most `most` and in at most `rounds` rounds.

    Args:
        most: static, ACTIVE.
        rounds: static, ROUNDS.
        rows: of this device.
        nearest: `[n]` squared distances, or GONE.
        left: how many are wanted.

    Returns:
        The new distances; positions `[most]` of the choices; how many they are.
    """
    most = min(most, all_rows(nearest))
    left = jnp.minimum(left, most)

    def one_round(carry):
        nearest, picks, done, number = carry
        distances, positions, few, outside = farthest(rows, nearest, most)
        picked, new = choose_among(few, distances, outside, left - done)
        nearest = nearer(rows, nearest, take(few, picked), new)
        real = jnp.arange(most) < new
        chosen = jnp.where(real, positions[picked], -1)
        nearest = put(nearest, chosen, GONE)
        at = jnp.where(real, done + jnp.arange(most), most)
        return nearest, picks.at[at].set(chosen, mode="drop"), done + new, number + 1

    def unfinished(carry):
        return (carry[2] < left) & (carry[3] < rounds)

    start = nearest, jnp.zeros(most, jnp.int32), jnp.int32(0), 0
    return lax.while_loop(unfinished, one_round, start)[:3]
