"""Winograd's algorithm for 3x3 convolutions of stride 2: 81 products instead of 144.

Yepez & Ko, Stride 2 1-D, 2-D, and 3-D Winograd for Convolutional Neural Networks, IEEE
Transactions on VLSI Systems 2020. Along one axis, two of the three taps read the odd
inputs and one reads the even ones:

    y[o] = (w[0] odd[o] + w[2] odd[o + 1]) + w[1] even[o],    odd[o] = x[2 o - 1].

Both are convolutions of stride 1, and add up at the points of F(4, 2): 0, 1, -1, 2 and
infinity, where the single tap has nothing. So of the 5x5 points of a tile of 4x4
outputs, the 16 that are finite in both directions have four phases to add up, the 8
that are in one have two, and the last has one: a product adds up phases as it does
channels. `Parts` are these three, `[16, n, 4 C]`, `[8, n, 2 C]` and `[1, n, C]`.

As in `winograd`, transforms are written as sums of strided slices. There are none for
gradients: kernels take nine times their memory here, which training has no room for.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

TILE = 4
FINITE = 4  # points that both phases share
INPUTS = 9  # of a tile, five odd and four even, and as many points
# Taps to the points of the odd inputs, infinity last, and to those of the even ones.
_G = np.array(
    [
        [1 / 2, 0, 0],
        [-1 / 2, 0, -1 / 2],
        [-1 / 6, 0, 1 / 6],
        [1 / 6, 0, 1 / 3],
        [0, 0, 1],
        [0, 1 / 2, 0],
        [0, -1 / 2, 0],
        [0, -1 / 6, 0],
        [0, 1 / 6, 0],
    ],
    np.float32,
)

Parts = tuple[jax.Array, jax.Array, jax.Array]


def _phases(points: Sequence) -> tuple:
    """The nine points: the odd inputs' finite ones, their last, the even inputs'."""
    return points[:FINITE], points[FINITE], points[FINITE + 1 :]


def _group(points: Sequence, numpy=jnp) -> tuple:
    """Points of a row, `[9, ..., n]` for those of columns, as three parts.

    These are `[16, ..., 4, n]`, `[8, ..., 2, n]` and `[1, ..., n]`.
    """
    odd, last, even = _phases(points)
    inner, below = [], []
    for a, b in zip(odd, even, strict=True):
        (aa, a_last, ab), (ba, b_last, bb) = _phases(a), _phases(b)
        inner.append(numpy.stack([aa, ba, ab, bb], -2))
        below.append(numpy.stack([a_last, b_last], -2))
    right_odd, corner, right_even = _phases(last)
    right = numpy.stack([right_odd, right_even], -2)
    inner = numpy.stack(inner, 1)
    inner = inner.reshape(FINITE**2, *inner.shape[2:])
    return inner, numpy.concatenate([right, numpy.stack(below)]), corner[None]


_G2 = tuple(
    part.reshape(-1, 9)
    for part in _group(np.einsum("ia,jb->jiab", _G, _G).reshape(9, 9, 9), np)
)


def _b(d: Sequence[jax.Array]) -> list[jax.Array]:
    """Nine inputs to five points of the odd and four of the even ones."""
    first, second = _b_finite(d[0:7:2]), _b_finite(d[1:8:2])
    return [*first, d[8] - d[4] - 2 * first[3], *second]


def _b_finite(d: Sequence[jax.Array]) -> list[jax.Array]:
    p, q = d[3] - d[1], d[3] - d[2]
    return [2 * (d[0] - d[2]) + p, q - 2 * d[1], q + 2 * (d[1] - d[2]), p]


def _a(m: Sequence[jax.Array]) -> list[jax.Array]:
    """Five points to four outputs."""
    p, q = m[1] + m[2], m[1] - m[2]
    return [m[0] + p + m[3], q + 2 * m[3], p + 4 * m[3], q + 8 * m[3] + m[4]]


def _tiles(size: int) -> int:
    """Tiles along the inputs' height or width."""
    return -(-size // (2 * TILE))


def pack(w: jax.Array) -> Parts:
    """`[3, 3, C, F]` to `[16, 4 C, F]`, `[8, 2 C, F]` and `[1, C, F]`."""
    taps = w.reshape(9, -1)
    parts = zip((16, 8, 1), _G2, strict=True)
    return tuple((g @ taps).reshape(n, -1, w.shape[3]) for n, g in parts)


def expand(x: jax.Array) -> Parts:
    """Images `[B, H, W, C]` to parts, where n counts tiles."""
    step = 2 * TILE
    high, wide = _tiles(x.shape[1]), _tiles(x.shape[2])
    after = [step * n - s for n, s in zip((high, wide), x.shape[1:3], strict=True)]
    x = jnp.pad(x, ((0, 0), (1, after[0]), (1, after[1]), (0, 0)))
    end = step * (high - 1) + 1
    rows = jnp.stack(_b([x[:, i : i + end : step] for i in range(INPUTS)]))
    end = step * (wide - 1) + 1
    both = _b([rows[:, :, :, i : i + end : step] for i in range(INPUTS)])
    tiles = x.shape[0] * high * wide
    return tuple(part.reshape(len(part), tiles, -1) for part in _group(both))


def reduce(m: Parts, shape: Sequence[int]) -> jax.Array:
    """`[16, n, F]`, `[8, n, F]` and `[1, n, F]` to images of `shape`."""
    b, h, w, f = shape
    high, wide = -(-h // TILE), -(-w // TILE)
    inner, edge, last = (part.reshape(-1, b, high, wide, f) for part in m)
    inner = inner.reshape(FINITE, FINITE, b, high, wide, f)
    finite = _a([*(inner[:, j] for j in range(FINITE)), edge[:FINITE]])
    finite = jnp.stack(finite, -2).reshape(FINITE, b, high, TILE * wide, f)
    below = jnp.stack(_a([*edge[FINITE:], last[0]]), -2)
    below = below.reshape(b, high, TILE * wide, f)
    y = jnp.stack(_a([*finite, below]), 2)
    return y.reshape(b, TILE * high, -1, f)[:, :h, :w]
