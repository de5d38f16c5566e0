"""Winograd's F(4x4, 3x3): a 3x3 convolution with a quarter of the multiplications.

Lavin & Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016
(arXiv 1509.09308). An image is cut into tiles of 4x4 outputs, each of which reads 6x6
inputs. With the paper's B, G and A, per tile and channel,

    y = A' [(G w G') * (B' x B)] A,

where the product in the middle is, over all tiles, 36 matrix products. All four maps
are linear, so the gradients are their transposes and never leave that domain.

Every transform is written as sums of strided slices: a product with a 6x6 matrix is
several times slower. The sums over rows take the tiles of a row and their channels as
one dimension, which XLA makes one long loop.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

TILE = 4
POINTS = 6
_G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    np.float32,
)
_G2 = np.kron(_G, _G)  # [36, 9]


def _b(d: Sequence[jax.Array]) -> list[jax.Array]:
    """B' d: six inputs to six points."""
    p, q = d[4] - 4 * d[2], d[3] - 4 * d[1]
    r, s = d[4] - d[2], 2 * (d[3] - d[1])
    first = 4 * d[0] - 5 * d[2] + d[4]
    return [first, p + q, p - q, r + s, r - s, 4 * d[1] - 5 * d[3] + d[5]]


def _b_transpose(t: Sequence[jax.Array]) -> list[jax.Array]:
    """B t: six points back to six inputs."""
    p, q = t[1] + t[2], t[1] - t[2]
    r, s = t[3] + t[4], 2 * (t[3] - t[4])
    return [
        4 * t[0],
        4 * (t[5] - q) - s,
        -5 * t[0] - 4 * p - r,
        q + s - 5 * t[5],
        t[0] + p + r,
        t[5],
    ]


def _a(m: Sequence[jax.Array]) -> list[jax.Array]:
    """A' m: six points to four outputs."""
    p, q = m[1] + m[2], m[1] - m[2]
    r, s = m[3] + m[4], m[3] - m[4]
    return [m[0] + p + r, q + 2 * s, p + 4 * r, q + 8 * s + m[5]]


def _a_transpose(y: Sequence[jax.Array]) -> list[jax.Array]:
    """A y: four outputs back to six points."""
    p, q = y[0] + y[2], y[1] + y[3]
    r, s = y[0] + 4 * y[2], 2 * y[1] + 8 * y[3]
    return [y[0], p + q, p - q, r + s, r - s, y[3]]


def _tiles(size: int) -> int:
    return -(-size // TILE)


def pack(w: jax.Array) -> jax.Array:
    """G w G': `[3, 3, C, F]` to `[36, C, F]`."""
    return (_G2 @ w.reshape(9, -1)).reshape(POINTS**2, *w.shape[2:])


def unpack(u: jax.Array) -> jax.Array:
    """The transpose of `pack`: `[36, C, F]` to `[3, 3, C, F]`."""
    return (_G2.T @ u.reshape(POINTS**2, -1)).reshape(3, 3, *u.shape[1:])


def expand(x: jax.Array) -> jax.Array:
    """B' x B: images `[B, H, W, C]` to `[36, tiles, C]`."""
    b, h, w, c = x.shape
    high, wide = _tiles(h), _tiles(w)
    after = [TILE * n + 1 - s for n, s in ((high, h), (wide, w))]
    x = jnp.pad(x, ((0, 0), (1, after[0]), (1, after[1]), (0, 0)))
    end = TILE * (wide - 1) + 1
    columns = jnp.stack(_b([x[:, :, i : i + end : TILE] for i in range(POINTS)]))
    columns = columns.reshape(POINTS, b, -1, wide * c)
    end = TILE * (high - 1) + 1
    both = _b([columns[:, :, i : i + end : TILE] for i in range(POINTS)])
    return jnp.stack(both).reshape(POINTS**2, -1, c)


def expand_transpose(v: jax.Array, shape: Sequence[int]) -> jax.Array:
    """The transpose of `expand`: `[36, tiles, C]` to images of `shape`."""
    b, h, w, c = shape
    high, wide = _tiles(h), _tiles(w)
    v = v.reshape(POINTS, POINTS, b, high, wide * c)
    rows = _overlap(v).reshape(POINTS, b, TILE * high, wide, c)
    return _overlap(rows).reshape(b, TILE * high, -1, c)[:, :h, :w]


def _overlap(points: jax.Array) -> jax.Array:
    """Adds up tiles that overlap by two inputs: `[6, …, n, X]` to `[…, n, 4, X]`."""

    def shift(x, before, after):
        pad = [(0, 0, 0)] * x.ndim
        pad[-2] = (before, after, 0)
        return jax.lax.pad(x, jnp.zeros((), x.dtype), pad)

    # The first input of a tile lies in the padding of the image or in the tile before.
    e = _b_transpose(points)
    return jnp.stack(
        [e[1] + shift(e[5], 1, -1), e[2], e[3], e[4] + shift(e[0], -1, 1)], -2
    )


def reduce(m: jax.Array, shape: Sequence[int]) -> jax.Array:
    """A' m A: `[36, tiles, F]` to images of `shape`."""
    b, h, w, f = shape
    high, wide = _tiles(h), _tiles(w)
    rows = jnp.stack(_a(m.reshape(POINTS, POINTS, -1)))
    rows = rows.reshape(TILE, POINTS, b, high, wide, f)
    y = jnp.stack(_a(rows.swapaxes(0, 1)), -2)
    y = y.reshape(TILE, b, high, -1, f).transpose(1, 2, 0, 3, 4)
    return y.reshape(b, TILE * high, -1, f)[:, :h, :w]


def reduce_transpose(g: jax.Array) -> jax.Array:
    """The transpose of `reduce`: images `[B, H, W, F]` to `[36, tiles, F]`."""
    b, h, w, f = g.shape
    high, wide = _tiles(h), _tiles(w)
    g = jnp.pad(g, ((0, 0), (0, TILE * high - h), (0, TILE * wide - w), (0, 0)))
    g = g.reshape(b, TILE * high, wide, TILE, f)
    columns = jnp.stack(_a_transpose([g[..., i, :] for i in range(TILE)]))
    columns = columns.reshape(POINTS, b, high, TILE, wide * f)
    both = _a_transpose([columns[:, :, :, i] for i in range(TILE)])
    return jnp.stack(both).reshape(POINTS**2, -1, f)
