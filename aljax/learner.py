"""What learns: a network, a loss prediction module, an optimizer, and their state."""

import inspect
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from aljax.config import Config
from aljax.data import Dataset
from aljax.machine.devices import AXIS
from aljax.models import MODELS, Dropout, LossPredictionModule
from aljax.optimizers import OPTIMIZERS, rate_in, step_decay


class TrainState(NamedTuple):
    """Everything that training changes; a pytree."""

    step: jax.Array  # int32, steps done in this cycle
    params: Any
    batch_stats: Any  # empty where the network normalises by no batch
    opt_state: Any
    loss_params: Any  # of the loss prediction module; None if it is not trained
    loss_opt_state: Any

    @property
    def variables(self) -> dict[str, Any]:
        """What the network's `apply` wants."""
        return {"params": self.params, "batch_stats": self.batch_stats}


@dataclass(frozen=True)
class Ranking:
    """How the loss prediction module is trained: fields of `config.loss_prediction`."""

    weight: float
    margin: float
    detach_epoch: int


@dataclass(frozen=True)
class Blueprint:
    """Everything that compiled programs are made of, and nothing else; hashable.

    Two runs with equal blueprints share their programs. A learner knows no other
    configuration, so a field that is missing here cannot be used by a program either.
    """

    model: str
    width: int
    precision: str
    sync_batch_norm: bool
    classes: int  # K
    image_shape: tuple[int, int, int]  # H, W, C
    mean: tuple[float, ...]  # [C] of the pool, pixels in 0…1, as the next
    std: tuple[float, ...]
    batch_size: int
    score_batch_size: int
    crop_padding: int
    padding: str  # the colour of that
    flip: bool
    milestones: tuple[int, ...]
    factor: float
    optimizer: str
    settings: tuple[tuple[str, Any], ...]  # of the optimizer, by name
    ranking: Ranking | None  # None: no loss prediction module is trained
    dropout: float = 0.0  # before the last layer; 0: the network has none
    passes: int = 0  # drawn by it for each image that is read


def make_blueprint(
    config: Config, dataset: Dataset, with_module: bool, stochastic: bool = False
) -> Blueprint:
    """Picks what one member of a grid computes with, on the images of one dataset.

    Args:
        config: the member.
        dataset: gives the image shape, the classes and the normalisation.
        with_module: whether a loss prediction module is trained too.
        stochastic: whether the network has dropout, and is read in several passes.
    """
    settings, prediction = config.optimizers[config.optimizer], config.loss_prediction
    ranking = Ranking(prediction.weight, prediction.margin, prediction.detach_epoch)
    return Blueprint(
        model=config.model,
        width=config.width,
        precision=config.precision,
        sync_batch_norm=config.sync_batch_norm,
        classes=len(dataset.classes),
        image_shape=dataset.train_images.shape[1:],
        mean=dataset.mean,
        std=dataset.std,
        batch_size=config.batch_size,
        score_batch_size=config.score_batch_size,
        crop_padding=config.augmentation.crop_padding,
        padding=config.augmentation.padding,
        flip=config.augmentation.flip,
        milestones=tuple(config.schedule.milestones),
        factor=config.schedule.factor,
        optimizer=config.optimizer,
        settings=tuple((n, _frozen(v)) for n, v in vars(settings).items()),
        ranking=ranking if with_module else None,
        dropout=config.query.dropout if stochastic else 0.0,
        passes=config.query.passes if stochastic else 0,
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Learner:
    """A network, its loss prediction module and an optimizer, made by one blueprint."""

    blueprint: Blueprint
    network: Any
    module: LossPredictionModule | None
    optimizer: optax.GradientTransformation

    def rate(self, epoch: jax.Array) -> jax.Array:
        """The learning rate after `epoch` epochs of a training."""
        settings = OPTIMIZERS[self.blueprint.optimizer](**dict(self.blueprint.settings))
        falls = step_decay(epoch, self.blueprint.milestones, self.blueprint.factor)
        return rate_in(settings, epoch) * falls


def make_learner(blueprint: Blueprint) -> Learner:
    """Builds the learner of a blueprint.

    Raises:
        ValueError: the network cannot have dropout, and it is wanted.
    """
    network = MODELS[blueprint.model](
        classes=blueprint.classes,
        width=blueprint.width,
        dtype=jnp.dtype(blueprint.precision),
        axis_name=AXIS if blueprint.sync_batch_norm else None,
        **_dropout(blueprint),
    )
    return Learner(
        blueprint,
        network,
        LossPredictionModule() if blueprint.ranking else None,
        OPTIMIZERS[blueprint.optimizer](**dict(blueprint.settings)).direction(),
    )


def _dropout(blueprint: Blueprint) -> dict[str, Any]:
    """The argument by which a network is given dropout, if it is to have some."""
    if not blueprint.dropout:
        return {}
    known = inspect.signature(MODELS[blueprint.model]).parameters
    if "dropout" not in known:
        raise ValueError(
            f"--config.model: {blueprint.model} takes no dropout, which "
            "--config.strategy reads it with; give it a field `dropout`, a layer to "
            "call before its last one, or choose another strategy."
        )
    return {"dropout": Dropout(blueprint.dropout, AXIS)}


def _image(learner: Learner) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *learner.blueprint.image_shape), jnp.float32)


def check_embedding(learner: Learner) -> None:
    """Refuses a network without an embedding: ValueError. Nothing is computed."""
    features = jax.eval_shape(
        lambda key, x: learner.network.init_with_output(key, x)[0],
        jax.eval_shape(lambda: jax.random.key(0)),
        _image(learner),
    )
    if features.embedding is None:
        raise ValueError(
            f"--config.strategy reads embeddings, but --config.model: "
            f"{learner.blueprint.model} has none; choose another strategy, or let the "
            "network's Features have an embedding."
        )


def init(learner: Learner, key: jax.Array) -> TrainState:
    """Draws fresh weights; the network's do not depend on the module's presence.

    Raises:
        ValueError: the network shows no stages, and a loss prediction module is wanted.
    """
    image = _image(learner)
    network_key, module_key = jax.random.split(key)
    # Lazily: shapes flow through the network, but no arithmetic to be compiled.
    variables = learner.network.lazy_init(network_key, image)
    params = variables["params"]
    loss_params = loss_opt_state = None
    if learner.module is not None:
        stages = jax.eval_shape(learner.network.apply, variables, image).stages
        if not stages:
            raise ValueError(
                f"--config.model: {learner.blueprint.model} shows no stages, which the "
                "loss prediction module reads; set --config.loss_prediction.train="
                "needed and a strategy that does not read predicted losses, or let "
                "the network's Features have stages."
            )
        loss_params = learner.module.lazy_init(module_key, stages)["params"]
        loss_opt_state = learner.optimizer.init(loss_params)
    return TrainState(
        jnp.zeros((), jnp.int32),
        params,
        variables.get("batch_stats", {}),
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
