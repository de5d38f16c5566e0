"""What learns: a network, a loss prediction module, an optimizer, and their state."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from aljax.config import Config
from aljax.data import Dataset
from aljax.models import MODELS, LossPrediction
from aljax.parallel import AXIS


class TrainState(NamedTuple):
    """Everything that training changes; a pytree."""

    step: jax.Array  # int32, steps done in this cycle
    params: Any
    batch_stats: Any
    opt_state: Any
    loss_params: Any  # of the loss prediction module; None if it is not trained
    loss_opt_state: Any

    @property
    def variables(self) -> dict[str, Any]:
        """What the network's `apply` wants."""
        return {"params": self.params, "batch_stats": self.batch_stats}


@dataclass(frozen=True)
class Learner:
    """A network, its loss prediction module and an optimizer under one recipe."""

    config: Config
    network: Any
    module: LossPrediction | None
    optimizer: optax.GradientTransformation
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_shape: tuple[int, ...]

    @property
    def learning_rate(self) -> float:
        return self.config.optimizers[self.config.optimizer].learning_rate


def make_learner(config: Config, dataset: Dataset, with_module: bool) -> Learner:
    """Builds the learner of one member of a grid for one dataset's images.

    Args:
        config: the member.
        dataset: gives the image shape, the classes and the normalisation.
        with_module: whether a loss prediction module is trained too.
    """
    network = MODELS[config.model](
        classes=len(dataset.classes),
        width=config.width,
        dtype=jnp.dtype(config.precision),
        axis_name=AXIS if config.sync_batch_norm else None,
    )
    return Learner(
        config,
        network,
        LossPrediction() if with_module else None,
        config.optimizers[config.optimizer].direction(),
        dataset.mean,
        dataset.std,
        dataset.train_images.shape[1:],
    )


def init(learner: Learner, key: jax.Array) -> TrainState:
    """Draws fresh weights; the network's do not depend on the module's presence."""
    image = jax.ShapeDtypeStruct((1, *learner.image_shape), jnp.float32)
    network_key, module_key = jax.random.split(key)
    # Lazily: shapes flow through the network, but no arithmetic to be compiled.
    variables = learner.network.lazy_init(network_key, image)
    params = variables["params"]
    loss_params = loss_opt_state = None
    if learner.module is not None:
        stages = jax.eval_shape(learner.network.apply, variables, image).stages
        loss_params = learner.module.lazy_init(module_key, stages)["params"]
        loss_opt_state = learner.optimizer.init(loss_params)
    return TrainState(
        jnp.zeros((), jnp.int32),
        params,
        variables["batch_stats"],
        learner.optimizer.init(params),
        loss_params,
        loss_opt_state,
    )


def restart(learner: Learner, state: TrainState) -> TrainState:
    """Keeps the weights and statistics; steps and optimizers begin again."""
    loss_opt_state = None
    if state.loss_params is not None:
        loss_opt_state = learner.optimizer.init(state.loss_params)
    return state._replace(
        step=jnp.zeros((), jnp.int32),
        opt_state=learner.optimizer.init(state.params),
        loss_opt_state=loss_opt_state,
    )
