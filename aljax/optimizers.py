"""Optimizers with the semantics of PyTorch, where the recipes were tuned.

Each gives a *direction*: the step for a learning rate of one. Training subtracts
learning rate times direction, so that a schedule may follow epochs, whose length in
steps grows with the labelled set. Coupled weight decay is added to the gradient of
every parameter, biases and batch normalisation included, before any moment. A
direction may take the epochs finished, as the argument `epoch` of its update.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax


@dataclass
class Sgd:
    """`torch.optim.SGD`: b ← m·b + (g + wd·w); w ← w − lr·b (Nesterov: g + m·b)."""

    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nesterov: bool = False

    def direction(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.trace(self.momentum, nesterov=self.nesterov),
        )


@dataclass
class Adam:
    """`torch.optim.Adam`, L2 added to the gradient (Kingma & Ba, arXiv 1412.6980)."""

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 1e-4

    def direction(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.scale_by_adam(self.beta1, self.beta2, self.epsilon),
        )


@dataclass
class AdamW:
    """`torch.optim.AdamW`, decoupled decay (Loshchilov & Hutter, arXiv 1711.05101)."""

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 5e-4

    def direction(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.scale_by_adam(self.beta1, self.beta2, self.epsilon),
            optax.add_decayed_weights(self.weight_decay),
        )


@dataclass
class RmsProp:
    """`torch.optim.RMSprop`: ε outside the root, lr after the momentum buffer.

    v ← α·v + (1−α)·g²; b ← m·b + g / (√v + ε); w ← w − lr·b, where g includes wd·w.
    """

    learning_rate: float = 1e-4
    decay: float = 0.99
    momentum: float = 0.9
    epsilon: float = 1e-8
    weight_decay: float = 1e-4

    def direction(self) -> optax.GradientTransformation:
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.scale_by_rms(self.decay, self.epsilon, eps_in_sqrt=False),
            optax.trace(self.momentum),
        )


@dataclass
class AdamSgd:
    """Adam first, then SGD, in each training (Keskar & Socher, arXiv 1712.07628).

    After `switch_epoch` epochs a new `torch.optim.SGD` takes the place of
    `torch.optim.Adam`: its momentum begins at zero. In the paper the steps themselves
    say when to switch and to which learning rate; here both are given.
    """

    learning_rate: float = 1e-4  # of Adam, as the next four
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 1e-4
    switch_epoch: int = 100  # epochs of a training after which SGD goes on
    sgd_learning_rate: float = 0.1
    sgd_momentum: float = 0.9
    sgd_weight_decay: float = 5e-4
    sgd_nesterov: bool = False

    def rate(self, epoch: Any) -> jax.Array:
        return jnp.where(
            epoch < self.switch_epoch, self.learning_rate, self.sgd_learning_rate
        )

    def direction(self) -> optax.GradientTransformationExtraArgs:
        of_adam = self.beta1, self.beta2, self.epsilon, self.weight_decay
        of_sgd = self.sgd_momentum, self.sgd_weight_decay, self.sgd_nesterov
        adam = Adam(self.learning_rate, *of_adam).direction()
        sgd = Sgd(self.sgd_learning_rate, *of_sgd).direction()

        def init(params):
            return adam.init(params), sgd.init(params)

        def update(gradients, state, params=None, *, epoch, **others):
            def first():
                step, new = adam.update(gradients, state[0], params)
                return step, (new, state[1])

            def then():
                step, new = sgd.update(gradients, state[1], params)
                return step, (state[0], new)

            return lax.cond(epoch < self.switch_epoch, first, then)

        return optax.GradientTransformationExtraArgs(init, update)


OPTIMIZERS = {
    "sgd": Sgd,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RmsProp,
    "adam_sgd": AdamSgd,
}


def rate_in(settings: Any, epoch: Any) -> Any:
    """The learning rate of an optimizer in an epoch, before any schedule.

    Args:
        settings: an entry of `OPTIMIZERS`; one whose rate changes by itself has a
            method `rate(epoch)`, all others have the rate `learning_rate`.
        epoch: epochs finished, an integer or an array of them.
    """
    rate = getattr(settings, "rate", None)
    return rate(epoch) if callable(rate) else settings.learning_rate


def step_decay(epoch, milestones: tuple[int, ...], factor: float):
    """Multiplier of the learning rate: `factor` for every milestone reached.

    Args:
        epoch: epochs finished, an integer or an array of them.
        milestones: epochs after which the rate falls.
        factor: what the rate is multiplied by at each.
    """
    return factor ** sum((epoch >= m) * 1.0 for m in milestones)
