"""What runs of one process share: images on the devices, programs, clock, console."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from aljax.config import Config
from aljax.data import Dataset
from aljax.inference import make_predict
from aljax.learner import (
    Blueprint,
    TrainState,
    check_embedding,
    init,
    make_blueprint,
    make_learner,
    restart,
)
from aljax.machine.clock import CompileClock, memory_bytes
from aljax.machine.devices import Devices, replicate
from aljax.machine.preemption import Preempted, Preemption
from aljax.machine.processes import count, largest
from aljax.runs.console import Console
from aljax.runs.pace import Paces, kind_of
from aljax.strategies import STRATEGIES
from aljax.training import make_train

ASK_SECONDS = 1.0  # between two questions whether a run is to stop, while it scores


@dataclass(frozen=True)
class Programs:
    """The compiled programs of one learner, and the shapes of its state."""

    shapes: TrainState
    init: Callable
    restart: Callable
    train: Callable
    predict: Callable
    stochastic: bool  # whether `predict` takes a key


class Unfit(ValueError):
    """A run cannot be carried out as it is configured; others may."""


class TooLarge(Unfit):
    """It takes more memory than its devices have."""


def check_memory(blueprint: Blueprint, devices: int, available: int) -> None:
    """Refuses batches that cannot fit, whatever else is in memory: ValueError.

    Training keeps two arrays of the first stage at least: its images and their
    gradient; scoring keeps one.

    Args:
        blueprint: gives the sizes.
        devices: that share a batch.
        available: memory of a device, in bytes.
    """
    height, width, _ = blueprint.image_shape
    value_bytes = 2 if blueprint.precision == "bfloat16" else 4
    image = height * width * blueprint.width * value_bytes
    for field, arrays in (("batch_size", 2), ("score_batch_size", 1)):
        size = getattr(blueprint, field)
        least = arrays * size * image // devices
        if least > available:
            fit = available * devices // (arrays * image)
            raise TooLarge(
                f"--config.{field}: {size} images take {least / 2**30:.0f} GiB in the "
                f"first stage alone, of {available / 2**30:.0f} GiB that there are; "
                f"choose far fewer than {fit}."
            )


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
        self._programs: dict[Blueprint, Programs] = {}

    @property
    def pool_size(self) -> int:
        return len(self.dataset.train_labels)

    @property
    def test_indices(self) -> np.ndarray:
        return self.pool_size + np.arange(len(self.dataset.test_labels))

    def programs(self, config: Config) -> Programs:
        """The programs of a configuration; equal blueprints share them.

        Raises:
            TooLarge: a batch is larger than the memory there is.
            ValueError: the network lacks what the loss prediction module reads, or
                what the strategy does.
        """
        needs = STRATEGIES[config.strategy].needs
        stochastic = STRATEGIES[config.strategy].stochastic
        always = config.loss_prediction.train == "always"
        with_module = always or "predicted_loss" in needs
        blueprint = make_blueprint(config, self.dataset, with_module, stochastic)
        if blueprint not in self._programs:
            (least,) = largest(-memory_bytes())  # of all processes
            check_memory(blueprint, self.devices.size, -least)
            learner = make_learner(blueprint)
            if "embedding" in needs:
                check_embedding(learner)
            start = jax.jit(lambda key: init(learner, key))
            earlier = self.paces(kind_of(config, self.devices))
            self.console.compiling(config, earlier)
            self._programs[blueprint] = Programs(
                jax.eval_shape(start, jax.random.key(0)),
                start,
                jax.jit(lambda state: restart(learner, state)),
                make_train(learner, self.devices),
                make_predict(learner, self.devices),
                stochastic,
            )
        return self._programs[blueprint]

    def asking(self) -> Callable[[], None]:
        """What to call after each batch: `check_preemption`, but by the clock.

        Several processes ask each other through their devices, behind all batches that
        these were given; so they agree on how many make up ASK_SECONDS.
        """
        if count() == 1:
            return self.check_preemption
        batches = left = 1
        began = time.monotonic()

        def ask() -> None:
            nonlocal batches, left, began
            left -= 1
            if left:
                return
            elapsed = time.monotonic() - began
            requested, seconds = largest(self.preemption.requested, elapsed)
            if requested:
                raise Preempted
            fitting = int(ASK_SECONDS * batches / max(seconds, 1e-9))
            batches = left = max(1, min(2 * batches, fitting))
            began = time.monotonic()

        return ask

    def check_preemption(self) -> None:
        check_preemption(self.preemption)


def check_preemption(preemption: Preemption) -> None:
    """Stops all processes of the run if one of them was asked to."""
    (requested,) = largest(preemption.requested)
    if requested:
        raise Preempted
