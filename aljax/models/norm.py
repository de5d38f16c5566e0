"""Batch normalisation that ignores padding rows and can span devices."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

EPSILON = 1e-5
MOMENTUM = 0.1  # weight of the new batch, as PyTorch counts it


class Affine(NamedTuple):
    """A normalisation once its statistics are known: (x - mean) * factor + bias."""

    mean: jax.Array  # [C], as the others; float32
    factor: jax.Array
    bias: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        return (x.astype(jnp.float32) - self.mean) * self.factor + self.bias

    def narrow(self, x: jax.Array) -> jax.Array:
        """The same in the dtype of `x`."""
        mean, factor, bias = (a.astype(x.dtype) for a in self)
        return (x - mean) * factor + bias


def normalisation(
    mean: jax.Array, variance: jax.Array, scale: jax.Array, bias: jax.Array
) -> Affine:
    """Normalises by statistics `[C]`, then applies `scale` and `bias`, both `[C]`."""
    return Affine(mean, scale * lax.rsqrt(variance + EPSILON), bias)


class Moments(NamedTuple):
    """The mean of so many values per channel, and the sum of squares around it.

    Unlike sums of squares around zero, these lose nothing where a mean is large against
    its deviation; they add up by Chan, Golub & LeVeque, The American Statistician 1983.
    """

    count: jax.Array  # []
    mean: jax.Array  # [C]
    squares: jax.Array  # [C]

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        share = other.count / jnp.maximum(count, 1.0)
        step = other.mean - self.mean
        squares = self.squares + other.squares + step * step * share * self.count
        return Moments(count, self.mean + step * share, squares)

    def variance(self) -> jax.Array:
        """`[C]`, the biased one, with which a batch is normalised."""
        return self.squares / jnp.maximum(self.count, 1.0)

    def unbiased(self) -> jax.Array:
        """`[C]`, what PyTorch's running statistics hold (arXiv 1502.03167, alg. 2)."""
        return self.squares / jnp.maximum(self.count - 1.0, 1.0)


def no_moments(channels: int) -> Moments:
    """The moments of no values at all: where sums begin."""
    zeros = jnp.zeros(channels)
    return Moments(jnp.zeros(()), zeros, zeros)


def total(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Sums `[B, H, W, C]` over rows with `weight` `[B]`, and over pixels, to `[C]`."""
    return (x * weight[:, None, None, None]).sum((0, 1, 2))


def total_by_product(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Sums as `total` does, in a form that XLA compiles well where `x` is computed too.

    A product adds up naively, so rows and columns are summed in turn: all pixels at
    once would lose a digit.
    """
    b, h, w, c = x.shape
    rows = jnp.ones((b * h, 1, w)) @ x.reshape(b * h, w, c)
    weights = jnp.broadcast_to(weight[:, None, None], (b, 1, h))
    return (weights @ rows.reshape(b, h, c)).sum((0, 1))


def moments(
    x: jax.Array, mask: jax.Array, total: Callable[..., jax.Array] = total
) -> Moments:
    """Moments of the real rows of `[B, H, W, C]`: `mask` `[B]` is 0 for padding."""
    weight = mask.astype(jnp.float32)
    x = x.astype(jnp.float32)
    count = weight.sum() * (x.shape[1] * x.shape[2])
    mean = total(x, weight) / jnp.maximum(count, 1.0)
    return Moments(count, mean, total(jnp.square(x - mean), weight))


def moments_at_once(x: jax.Array, mask: jax.Array) -> Moments:
    """The same as `moments`, which reads `x` twice, in one pass over it.

    Sums of squares lose digits where the mean is large against the deviation, so they
    are taken around a value of each channel, which is a few deviations from the mean:
    that in the middle of the first row, a real one if there is any.
    """
    weight = mask.astype(jnp.float32)
    shift = x[0, x.shape[1] // 2, x.shape[2] // 2].astype(jnp.float32)
    x = x.astype(jnp.float32) - shift
    count = weight.sum() * (x.shape[1] * x.shape[2])
    some = jnp.maximum(count, 1.0)
    sums, squares = total(x, weight), total(jnp.square(x), weight)
    squares = jnp.maximum(squares - jnp.square(sums) / some, 0.0)
    return Moments(count, jnp.where(count > 0, shift + sums / some, 0.0), squares)


def over_devices(m: Moments, axis_name: str | None) -> Moments:
    """Adds up the moments that each device has of its own rows, in one collective."""
    if axis_name is None:
        # Rows of the padding, where there are no others, must not grow beyond numbers.
        return m._replace(squares=jnp.where(m.count > 0, m.squares, 1.0))
    if lax.axis_size(axis_name) == 1:
        return m
    mine = jnp.concatenate([m.count[None], m.mean, m.squares])
    everyone = lax.all_gather(mine, axis_name)
    counts = everyone[:, :1]
    means, squares = jnp.split(everyone[:, 1:], 2, axis=1)
    count = counts.sum()
    mean = (counts * means).sum(0) / jnp.maximum(count, 1.0)
    spread = (counts * jnp.square(means - mean)).sum(0)
    return Moments(count, mean, squares.sum(0) + spread)
