"""Where rows lie while a batch is chosen.

Strategies over many rows are functions of the rows that one device has; they speak of
the others by words of this file, such as `gathered`, `summed` and `first_row`. Rows
come in the order of a draw, so that of equals the first may be taken.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from aljax.machine.devices import AXIS, EVERYWHERE, SPLIT, Devices, spmd
from aljax.strategies.strategy import Query, shuffled

__all__ = ["EVERYWHERE", "SPLIT"]
TILE = 2048  # rows that are worked on at a time, to bound the memory
SMALL_TILE = 256  # where each row has much to itself


@functools.cache
def program(
    f: Callable, devices: Devices, in_specs, out_specs, *static: Any
) -> Callable:
    """Compiles a function of a device's rows once, for all queries of a process.

    Args:
        f: function at the top of a file.
        devices: where it runs.
        in_specs: a tuple with EVERYWHERE or SPLIT for each array it takes.
        out_specs: the same for each result.
        static: what it takes before the arrays; hashable.
    """
    mapped = functools.partial(f, *static)
    return spmd(mapped, devices, in_specs, out_specs, convolves=False)


def gathered(tree: Any) -> Any:
    """The rows of all devices, on every device, in order."""
    return jax.tree.map(lambda x: lax.all_gather(x, AXIS, tiled=True), tree)


def summed(tree: Any) -> Any:
    """The sum over devices."""
    return lax.psum(tree, AXIS)


def first_row(rows: jax.Array) -> jax.Array:
    """The position, among the rows of all devices, of the first that lies here."""
    return lax.axis_index(AXIS) * len(rows)


def all_rows(rows: jax.Array) -> int:
    """How many rows all devices have."""
    return lax.axis_size(AXIS) * len(rows)


def take(tree: Any, rows: jax.Array) -> Any:
    """Picks rows of every array."""
    return jax.tree.map(lambda x: x[rows], tree)


def put(x: jax.Array, positions: jax.Array, value: float) -> jax.Array:
    """Sets those of this device's rows that have one of some positions."""
    rows = positions - first_row(x)
    inside = (rows >= 0) & (rows < len(x))
    return x.at[jnp.where(inside, rows, len(x))].set(value, mode="drop")


def tiles(tree: Any, size: int = TILE) -> Any:
    """Cuts the rows of a device into tiles `[tiles, size, …]`."""

    def cut(x):
        rows = min(len(x), size)
        return x.reshape(len(x) // rows, rows, *x.shape[1:])

    return jax.tree.map(cut, tree)


def joined(tree: Any) -> Any:
    """Undoes `tiles`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def room(count: int, devices: Devices) -> int:
    """How many rows are laid out for `count`, so that devices and tiles divide them."""
    each = -(-max(count, 1) // devices.size)
    tile = 1 if each <= SMALL_TILE else SMALL_TILE if each <= TILE else TILE
    return devices.size * tile * -(-each // tile)


def padded(rows: np.ndarray, size: int) -> np.ndarray:
    """Fills up to `size` rows, with zeros."""
    widths = [(0, size - len(rows))] + [(0, 0)] * (rows.ndim - 1)
    return np.pad(rows, widths)


def blocks(rows: np.ndarray, size: int):
    """Yields padded blocks of `size` rows, and how many of each are real."""
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield padded(part, size), np.int32(len(part))


def drawn_order(query: Query) -> np.ndarray:
    """The order in which candidates are laid out, `[N]` positions."""
    return shuffled(query.random, query.count, query.count)


def candidates_room(query: Query) -> int:
    """Rows laid out for candidates, in this query and all others of its run."""
    return room(max(query.count, query.most_candidates), query.devices)


def drawn_seed(query: Query) -> np.ndarray:
    """A uint32 of which a program makes its keys."""
    return np.uint32(int(query.random.random_raw(1)[0]) >> 32)


def real_rows(x: jax.Array, count: jax.Array) -> jax.Array:
    """Which of this device's rows are among the first `count` of all; `[n]` bool."""
    return first_row(x) + jnp.arange(len(x)) < count
