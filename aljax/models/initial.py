"""How weights start: as PyTorch's do, since the recipes were tuned there."""

import math

import jax
import jax.numpy as jnp
from jax import lax


def fan_in_uniform(
    key: jax.Array, shape: tuple[int, ...], fan_in: int | None = None
) -> jax.Array:
    """U(−1/√fan_in, 1/√fan_in): PyTorch's default for convolution and linear layers.

    Draws by Philox (Salmon et al., SC 2011), the same bits on every platform. For the
    dozens of shapes of a network `jax.random` would take five times as long to compile.

    Args:
        key: a typed key.
        shape: of the weights, outputs last.
        fan_in: inputs of one output; by default the product of all but the last of
            `shape`.
    """
    if fan_in is None:
        fan_in = math.prod(shape[:-1])
    words = jax.random.key_data(key).astype(jnp.uint32)
    state = jnp.concatenate([words, words ^ jnp.uint32(0x9E3779B9)])
    _, bits = lax.rng_bit_generator(
        state, shape, jnp.uint32, algorithm=lax.RandomAlgorithm.RNG_PHILOX
    )
    uniform = (bits >> 8).astype(jnp.float32) * 2.0**-24  # in [0, 1)
    return (2 * uniform - 1) * fan_in**-0.5
