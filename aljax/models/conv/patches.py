"""A convolution as one matrix product over the patches that its outputs read."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def expand(x: jax.Array, size: int, stride: int) -> jax.Array:
    """Gathers patches: images `[B, H, W, C]` to `[B * h * w, size * size * C]`."""
    if size == 1:
        return x[:, ::stride, ::stride].reshape(-1, x.shape[3])
    pad = size // 2
    high, wide = ((n - 1) // stride * stride + 1 for n in x.shape[1:3])
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    taps = [
        x[:, i : i + high : stride, j : j + wide : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.stack(taps, 3).reshape(-1, size * size * x.shape[3])


def _sources(size: int, stride: int, phase: int) -> list[tuple[int, int]]:
    """The taps that read input `stride * a + phase`, and their outputs minus a."""
    reach = phase + size // 2
    return [(i, (reach - i) // stride) for i in range(size) if not (reach - i) % stride]


def _shift(x: jax.Array, rows: int, columns: int) -> jax.Array:
    pad = [(0, 0, 0), (-rows, rows, 0), (-columns, columns, 0), (0, 0, 0)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), pad)


def expand_transpose(
    v: jax.Array, shape: Sequence[int], size: int, stride: int
) -> jax.Array:
    """The transpose of `expand`, to images of `shape`."""
    b, h, w, c = shape
    high, wide = -(-h // stride), -(-w // stride)
    v = v.reshape(b, high, wide, size, size, c)
    phases = []
    for p in range(stride):
        for q in range(stride):
            terms = [
                _shift(v[:, :, :, i, j], rows, columns)
                for i, rows in _sources(size, stride, p)
                for j, columns in _sources(size, stride, q)
            ]
            phases.append(sum(terms) if terms else jnp.zeros_like(v[:, :, :, 0, 0]))
    x = jnp.stack(phases, 3).reshape(b, high, wide, stride, stride, c)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(b, high * stride, wide * stride, c)
    return x[:, :h, :w]
