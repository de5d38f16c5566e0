"""Dropout (Srivastava et al., JMLR 2014), the same on one device and on many."""

import flax.linen as nn
import jax
from jax import lax


class Dropout(nn.Module):
    """Leaves out parts of each row at random, wherever an rng "dropout" is given.

    Attributes:
        rate: share of the row that is left out; the rest is scaled up.
        axis_name: of the devices that share a batch.
    """

    rate: float
    axis_name: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[B, D]` to `[B, D]`; without an rng, as it is."""
        if not self.has_rng("dropout"):
            return x
        rows, columns = x.shape
        # Drawn for the batch of all devices, of which this one has its rows.
        shape = rows * lax.axis_size(self.axis_name), columns
        kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
        first = rows * lax.axis_index(self.axis_name)
        kept = lax.dynamic_slice_in_dim(kept, first, rows)
        return x * kept / (1 - self.rate)
