"""k-means++: a next point is drawn by its squared distance from those before.

Arthur & Vassilvitskii, k-means++: The Advantages of Careful Seeding, SODA 2007. A point
with weight w, its squared distance to the nearest centre, is next with p = w / Σ w.

Here points arrive like calls at an exchange, each at a rate of its own, and who arrives
next is drawn with p proportional to the rates. Rates are the weights at the beginning
of a round; a point that arrives is taken with probability (weight now) / (rate), for
weights only fall: so the next one taken is drawn by the weights of now, exactly. What
has not arrived may be drawn anew at any time, so a round ends when as many have arrived
as are looked at, or after the first point that arrives twice. Then all weights are
brought up to date, for many new centres at once.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from aljax.machine.devices import Devices
from aljax.strategies.distances import Points, nearer, squared_distances
from aljax.strategies.placing import (
    EVERYWHERE,
    SPLIT,
    all_rows,
    first_row,
    gathered,
    program,
    put,
    take,
)

ARRIVALS = 256  # that are looked at in a round
ROUNDS = 4  # of one call
GONE = -1.0  # in place of a weight: a centre, or no point
# Points without weight arrive after all others: logarithms of times are far smaller.
LATE = 1e4


def more_centres(
    rows: Points,
    weights: jax.Array,
    count: int,
    seed: np.uint32,
    devices: Devices,
    check,
) -> list[int]:
    """Draws `count` more centres.

    Args:
        rows: SPLIT over the devices.
        weights: `[n]` squared distances to the centres so far, or GONE. Points that all
            weigh nothing are drawn evenly.
        count: at most as many as there are points left.
        seed: of the draws.
        devices: where they lie.
        check: called between pieces of work.

    Returns:
        Their positions in the order drawn.
    """
    specs = (SPLIT, SPLIT, EVERYWHERE, EVERYWHERE), (SPLIT, EVERYWHERE, EVERYWHERE)
    advance = program(draw, devices, *specs, ARRIVALS, ROUNDS)
    drawn: list[int] = []
    calls = 0
    while len(drawn) < count:
        key = np.array([seed, calls], np.uint32)
        left = np.int32(count - len(drawn))
        weights, picks, number = advance(rows, weights, key, left)
        drawn += np.asarray(picks)[: int(number)].tolist()
        calls += 1
        check()
    return drawn


def arrivals(rows: Points, weights: jax.Array, key: jax.Array, most: int):
    """The first arrivals among the points of all devices, in order of time.

    Returns:
        On every device, `[m]` each: the rates, positions, whether the point has arrived
        before, a number in 0…1 to decide by, and the points.
    """
    # A row's numbers depend on its position alone, not on how many rows are laid out.
    shape, here = (all_rows(weights), 4), first_row(weights)
    draws = jax.random.uniform(key, shape, minval=jnp.finfo(jnp.float32).tiny)
    draws = lax.dynamic_slice_in_dim(draws, here, len(weights)).T
    once = -jnp.log(draws[0])
    again = once - jnp.log(draws[1])
    rates = jnp.log(jnp.where(weights > 0, weights, 1))
    late = jnp.where(weights == 0, LATE + jnp.log(once), jnp.inf)
    first = jnp.where(weights > 0, jnp.log(once) - rates, late)
    second = jnp.where(weights > 0, jnp.log(again) - rates, jnp.inf)
    times = jnp.concatenate([first, second])
    earliest, places = lax.top_k(-times, min(most, len(times)))
    twice, place = places >= len(weights), places % len(weights)
    decide = jnp.where(twice, draws[3, place], draws[2, place])
    found = weights[place], here + place, twice, decide, take(rows, place)
    earliest, found = gathered((earliest, found))
    _, order = lax.top_k(earliest, min(most, len(earliest)))
    return take(found, order)


def taken(few: Points, rates: jax.Array, twice: jax.Array, decide: jax.Array, left):
    """Which arrivals become centres, `[m]` in order, and how many."""
    alone = rates == 0  # only if no point has any weight

    def one(carry):
        i, weights, picked, number, ended = carry
        yes = (decide[i] * rates[i] < weights[i]) | alone[i]
        new = squared_distances(take(few, i[None]), few)[0]
        weights = jnp.where(yes, jnp.minimum(weights, new), weights)
        picked = picked.at[jnp.where(yes, number, len(rates))].set(i, mode="drop")
        return i + 1, weights, picked, number + yes, ended | twice[i]

    def going_on(carry):
        i, _, _, number, ended = carry
        return (i < len(rates)) & (number < left) & ~ended

    picked = jnp.zeros(len(rates), jnp.int32)
    start = jnp.int32(0), rates, picked, jnp.int32(0), jnp.bool_(False)
    return lax.while_loop(going_on, one, start)[2:4]


def draw(
    most: int,
    rounds: int,
    rows: Points,
    weights: jax.Array,
    key: jax.Array,
    left: jax.Array,
):
    """The next centres, at most `most` and in at most `rounds` rounds.

    Args:
        most: static, ARRIVALS.
        rounds: static, ROUNDS.
        rows: of this device.
        weights: `[n]` squared distances, or GONE.
        key: `[2]` uint32.
        left: how many are wanted.

    Returns:
        The new weights; positions `[most]` of the centres; how many they are.
    """
    key = jax.random.fold_in(jax.random.key(key[0]), key[1])
    left = jnp.minimum(left, most)

    def one_round(carry):
        weights, picks, done, number = carry
        now = jax.random.fold_in(key, number)
        rates, positions, twice, decide, few = arrivals(rows, weights, now, most)
        picked, new = taken(few, rates, twice, decide, left - done)
        weights = nearer(rows, weights, take(few, picked), new)
        real = jnp.arange(len(picked)) < new
        chosen = jnp.where(real, positions[picked], -1)
        weights = put(weights, chosen, GONE)
        at = jnp.where(real, done + jnp.arange(len(picked)), most)
        return weights, picks.at[at].set(chosen, mode="drop"), done + new, number + 1

    def unfinished(carry):
        return (carry[2] < left) & (carry[3] < rounds)

    start = weights, jnp.zeros(most, jnp.int32), jnp.int32(0), jnp.int32(0)
    return lax.while_loop(unfinished, one_round, start)[:3]
