"""Optimizers with the semantics of PyTorch, where the recipes were tuned.

Each gives a *direction*: the step for a learning rate of one. Training subtracts
learning rate times direction, so that a schedule may follow epochs, whose length in
steps grows with the labelled set. Coupled weight decay is added to the gradient of
every parameter, biases and batch normalisation included, before any moment.
"""

from dataclasses import dataclass

import optax


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


OPTIMIZERS = {"sgd": Sgd, "adam": Adam, "adamw": AdamW, "rmsprop": RmsProp}


def step_decay(epoch, milestones: tuple[int, ...], factor: float):
    """Multiplier of the learning rate: `factor` for every milestone reached.

    Args:
        epoch: epochs finished, an integer or an array of them.
        milestones: epochs after which the rate falls.
        factor: what the rate is multiplied by at each.
    """
    return factor ** sum((epoch >= m) * 1.0 for m in milestones)
