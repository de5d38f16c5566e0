"""Images on their way to a convolution, and what scoring makes of their normalisation.

On a GPU one kernel of the vendor's convolves, adds a bias and a shortcut and applies
ReLU, if the rest of a normalisation is in the convolution's kernel.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from aljax.models.norm import Affine
from aljax.platforms import by_platform


class Pending(NamedTuple):
    """Images that still wait for relu(norm(y) + rest_norm(rest))."""

    y: jax.Array  # [B, H, W, C]
    norm: Affine
    rest: jax.Array | None = None  # [B, H, W, C]
    rest_norm: Affine | None = None

    def narrow(self) -> jax.Array:
        """The images `[B, H, W, C]`, computed in their own dtype."""
        x = self.norm.narrow(self.y)
        if self.rest_norm is not None:
            x += self.rest_norm.narrow(self.rest)
        elif self.rest is not None:
            x += self.rest
        return jax.nn.relu(x)

    def value(self) -> jax.Array:
        """The images `[B, H, W, C]`, computed in float32."""
        x = self.norm(self.y)
        if self.rest_norm is not None:
            x += self.rest_norm(self.rest)
        elif self.rest is not None:
            x += self.rest.astype(jnp.float32)
        return jax.nn.relu(x).astype(self.y.dtype)


def _fold(kernel: jax.Array, norm: Affine) -> tuple[jax.Array, Affine]:
    bias = norm.bias - norm.mean * norm.factor
    rest = Affine(jnp.zeros_like(bias), jnp.ones_like(bias), bias)
    return kernel * norm.factor, rest


def folded(kernel: jax.Array, norm: Affine) -> tuple[jax.Array, Affine]:
    """A kernel and the normalisation of its result, for scoring.

    The factor goes into the kernel `[S, S, C, F]` where one kernel of the vendor's can
    convolve, add a bias and a shortcut, and apply ReLU; nothing changes elsewhere.
    """
    return by_platform(kernel, norm, cpu=lambda *given: given, default=_fold)


def scored(x: Pending) -> jax.Array:
    """The images `[B, H, W, C]` that scoring ends with."""
    return by_platform(x, cpu=Pending.value, default=Pending.narrow)
