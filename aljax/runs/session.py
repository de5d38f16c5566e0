"""What runs of one process share: images on the devices, programs, clock, console."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from aljax.config import Config
from aljax.data import Dataset
from aljax.inference import make_predict
from aljax.learner import (
    Recipe,
    TrainState,
    check_embedding,
    init,
    make_learner,
    make_recipe,
    restart,
)
from aljax.machine.clock import CompileClock
from aljax.machine.devices import Devices, replicate
from aljax.machine.preemption import Preempted, Preemption
from aljax.machine.processes import largest
from aljax.runs.console import Console
from aljax.runs.pace import Paces, kind_of
from aljax.strategies import STRATEGIES
from aljax.training import make_train


@dataclass(frozen=True)
class Programs:
    """The compiled programs of one learner, and the shapes of its state."""

    shapes: TrainState
    init: Callable
    restart: Callable
    train: Callable
    predict: Callable
    stochastic: bool  # whether `predict` takes a key


class Session:
    """One dataset on the devices, and the programs that were compiled for it.

    Pool and test images lie in one array, the pool first, so that one program reads
    both.
    """

    def __init__(
        self,
        dataset: Dataset,
        devices: Devices,
        clock: CompileClock,
        console: Console,
        preemption: Preemption,
        paces: Paces | None = None,
    ):
        self.dataset, self.devices, self.clock = dataset, devices, clock
        self.console, self.preemption = console, preemption
        self.paces = paces or Paces("")
        images = np.concatenate([dataset.train_images, dataset.test_images])
        self.images = replicate(images, devices)
        labels = np.concatenate([dataset.train_labels, dataset.test_labels])
        self.labels = replicate(labels, devices)
        self._programs: dict[Recipe, Programs] = {}

    @property
    def pool_size(self) -> int:
        return len(self.dataset.train_labels)

    @property
    def test_indices(self) -> np.ndarray:
        return self.pool_size + np.arange(len(self.dataset.test_labels))

    def programs(self, config: Config) -> Programs:
        """The programs of a configuration; equal recipes share them.

        Raises:
            ValueError: the network lacks what the loss prediction module reads, or
                what the strategy does.
        """
        needs = STRATEGIES[config.strategy].needs
        always = config.loss_prediction.train == "always"
        with_module = always or "predicted_loss" in needs
        stochastic = "stochastic_logits" in needs
        recipe = make_recipe(config, self.dataset, with_module, stochastic)
        if recipe not in self._programs:
            learner = make_learner(recipe)
            if "embedding" in needs:
                check_embedding(learner)
            start = jax.jit(lambda key: init(learner, key))
            earlier = self.paces(kind_of(config, self.devices))
            self.console.compiling(config, earlier)
            self._programs[recipe] = Programs(
                jax.eval_shape(start, jax.random.key(0)),
                start,
                jax.jit(lambda state: restart(learner, state)),
                make_train(learner, self.devices),
                make_predict(learner, self.devices),
                stochastic,
            )
        return self._programs[recipe]

    def check_preemption(self) -> None:
        """Stops all processes of the run if one of them was asked to."""
        (requested,) = largest(self.preemption.requested)
        if requested:
            raise Preempted
