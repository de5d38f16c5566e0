"""Batch normalisation that ignores padding rows and can span devices."""

import jax
import jax.numpy as jnp
from jax import lax

EPSILON = 1e-5
MOMENTUM = 0.1  # weight of the new batch, as PyTorch counts it


def _sum_over_devices(x: jax.Array, axis_name: str | None) -> jax.Array:
    return x if axis_name is None else lax.psum(x, axis_name)


def batch_norm(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mask: jax.Array,
    axis_name: str | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises each channel by the statistics of the real rows of a batch.

    Statistics are float32 whatever the dtype of `x`.

    Args:
        x: `[B, H, W, C]`.
        scale: `[C]`.
        bias: `[C]`.
        mask: `[B]`, 1 for a real row and 0 for padding.
        axis_name: devices to share the statistics with, or None for local ones.

    Returns:
        The normalised batch `[B, H, W, C]`, the mean `[C]` and the *unbiased* variance
        `[C]`, which is what PyTorch's running statistics hold (Ioffe & Szegedy,
        arXiv 1502.03167, algorithm 2).
    """
    weight = mask.astype(jnp.float32)[:, None, None, None]
    rows = _sum_over_devices(mask.astype(jnp.float32).sum(), axis_name)
    count = jnp.maximum(rows * (x.shape[1] * x.shape[2]), 1.0)
    wide = x.astype(jnp.float32)
    total = _sum_over_devices((wide * weight).sum((0, 1, 2)), axis_name)
    mean = total / count
    squares = (jnp.square(wide - mean) * weight).sum((0, 1, 2))
    variance = _sum_over_devices(squares, axis_name) / count
    factor = scale * lax.rsqrt(variance + EPSILON)
    y = (wide - mean) * factor + bias
    unbiased = variance * count / jnp.maximum(count - 1.0, 1.0)
    return y.astype(x.dtype), mean, unbiased


def fold(
    kernel: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    mean: jax.Array,
    variance: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Folds a normalisation by running statistics into the convolution before it.

    Returns:
        The kernel `[S, S, C, F]` and the offset `[F]` with which one convolution gives
        what convolution and normalisation gave.
    """
    factor = scale * lax.rsqrt(variance + EPSILON)
    return kernel * factor, bias - mean * factor
