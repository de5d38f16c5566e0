"""The loss prediction module and its ranking loss.

Yoo & Kweon, Learning Loss for Active Learning, CVPR 2019 (arXiv 1905.03677).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from aljax.models.resnet import Linear


class LossPredictionModule(nn.Module):
    """Predicts the loss of each image from the outputs of the stages.

    Each stage: global average pool, linear to 128, ReLU; then linear to one number.
    """

    features: int = 128

    @nn.compact
    def __call__(
        self, stages: Sequence[jax.Array], detach: jax.Array | bool = False
    ) -> jax.Array:
        """Maps stage outputs, each `[B, h, w, c]`, to predicted losses `[B]`.

        Where `detach` is true, no gradient flows back into the stages.
        """
        pooled = [s.astype(jnp.float32).mean((1, 2)) for s in stages]
        pooled = [jnp.where(detach, jax.lax.stop_gradient(p), p) for p in pooled]
        hidden = [
            nn.relu(Linear(self.features, name=f"stage{i + 1}")(p))
            for i, p in enumerate(pooled)
        ]
        return Linear(1, name="head")(jnp.concatenate(hidden, -1))[:, 0]


def ranking_loss(
    predicted: jax.Array, target: jax.Array, count: jax.Array | int, margin: float = 1.0
) -> jax.Array:
    """Mean hinge loss over pairs: the module must order two losses rightly.

    Image i of the `count` real ones is paired with image count−1−i, for i < count/2;
    mean of max(0, margin − sign(l_i − l_j)·(l̂_i − l̂_j)), where a tie has sign −1. The
    middle image of an odd count has no partner; a count below 2 gives 0.

    Args:
        predicted: l̂ `[B]`, real rows first.
        target: l `[B]`; no gradient flows into it.
        count: number of real rows, at most B.
        margin: ξ, in units of the loss.

    Returns:
        A scalar, in units of the loss.
    """
    first = jnp.arange(predicted.shape[0] // 2)
    second = jnp.clip(count - 1 - first, 0)
    pairs = count // 2
    target = jax.lax.stop_gradient(target)
    sign = jnp.where(target[first] > target[second], 1.0, -1.0)
    hinge = jnp.maximum(0.0, margin - sign * (predicted[first] - predicted[second]))
    total = jnp.where(first < pairs, hinge, 0.0).sum()
    return total / jnp.maximum(pairs, 1)
