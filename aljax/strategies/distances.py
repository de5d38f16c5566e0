"""Squared distances by one product of matrices, and to the nearest of many points.

|a − b|² = |a|² + |b|² − 2 a·b. Rows may also stand for the outer products q ⊗ h, which
are never made: (q ⊗ h)·(q' ⊗ h') = (q·q')(h·h').
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from aljax.strategies.placing import joined, tiles

FEW = 128  # centres at a time, where often few of them are real
MANY = 512  # where most are: larger products are faster
# Squares of rows that differ by less than float32 rounds in the sum above are 0: what
# is bought for the distance to its own copy would be noise.
ROUNDING = 16 * float(jnp.finfo(jnp.float32).eps)


class Points(NamedTuple):
    """Rows; where there is a q, each stands for q ⊗ h."""

    h: jax.Array  # [n, D]
    q: jax.Array | None  # [n, K]
    squares: jax.Array  # [n], squared lengths


def points(h: jax.Array, q: jax.Array | None = None) -> Points:
    """Measures rows `[n, D]`, and `[n, K]` if there is a second factor."""
    squares = (h * h).sum(-1)
    return Points(h, q, squares if q is None else squares * (q * q).sum(-1))


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """`[n, D]`, `[m, D]` -> `[n, m]`, in float32 on every platform."""
    return lax.dot_general(a, b, (((1,), (1,)), ((), ())), precision="highest")


def squared_distances(a: Points, b: Points) -> jax.Array:
    """`[n, m]`, 0 between rows that float32 cannot tell apart."""
    products = dot(a.h, b.h)
    if a.q is not None:
        products *= dot(a.q, b.q)
    sums = a.squares[:, None] + b.squares
    squared = sums - 2 * products
    return jnp.where(squared > ROUNDING * sums, squared, 0)


def nearer(
    rows: Points,
    nearest: jax.Array,
    centres: Points,
    count: jax.Array,
    block_size: int = FEW,
) -> jax.Array:
    """Squared distances to the nearest centre, once there are more of them.

    Args:
        rows: n of them.
        nearest: `[n]`, to the centres before; infinite where there were none.
        centres: m of them, the first `count` real.
        count: how many.
        block_size: static, FEW or MANY.

    Returns:
        `[n]`, never more than `nearest`.
    """
    size = min(len(centres.h), block_size)
    last = len(centres.h) - size

    def block(i, nearest):
        # The last block is moved back to end with the centres; some come twice.
        start = jnp.minimum(i * size, last)
        some = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, size), centres)
        real = start + jnp.arange(size) < count

        def of_tile(tile):
            squared = squared_distances(tile[0], some)
            return jnp.minimum(tile[1], jnp.where(real, squared, jnp.inf).min(-1))

        return joined(lax.map(of_tile, tiles((rows, nearest))))

    return lax.fori_loop(0, (count + size - 1) // size, block, nearest)
