"""What all runs of one process share: images on the devices, programs, clocks."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from aljax import timing
from aljax.checkpoint import Preempted, Preemption
from aljax.config import Config, flatten
from aljax.console import Console
from aljax.data import Dataset
from aljax.inference import make_predict
from aljax.learner import init, make_learner, restart
from aljax.parallel import Devices, replicate
from aljax.processes import highest
from aljax.strategies import STRATEGIES
from aljax.training import make_train

# The fields that programs are made of, besides those of the chosen optimizer.
_USED = (
    *("model", "width", "batch_size", "precision", "sync_batch_norm"),
    *("augmentation.crop_padding", "augmentation.flip"),
    *("schedule.milestones", "schedule.factor"),
    *("loss_prediction.weight", "loss_prediction.margin"),
    "loss_prediction.detach_epoch",
)


@dataclass(frozen=True)
class Programs:
    """The compiled programs of one learner."""

    init: Callable
    restart: Callable
    train: Callable
    predict: Callable


class Session:
    """Datasets, programs and clocks of one process.

    Pool and test images lie in one array, the pool first, so that one program reads
    both.
    """

    def __init__(
        self,
        dataset: Dataset,
        devices: Devices,
        clock: timing.CompileClock,
        console: Console,
        preemption: Preemption,
    ):
        self.dataset, self.devices, self.clock = dataset, devices, clock
        self.console, self.preemption = console, preemption
        images = np.concatenate([dataset.train_images, dataset.test_images])
        self.images = replicate(images, devices)
        labels = np.concatenate([dataset.train_labels, dataset.test_labels])
        self.labels = replicate(labels, devices)
        self._programs: dict[str, Programs] = {}

    @property
    def pool_size(self) -> int:
        return len(self.dataset.train_labels)

    @property
    def test_indices(self) -> np.ndarray:
        return self.pool_size + np.arange(len(self.dataset.test_labels))

    def programs(self, config: Config) -> Programs:
        """The programs of a configuration; runs that differ only in data share them."""
        needed = "predicted_loss" in STRATEGIES[config.strategy].needs
        with_module = needed or config.loss_prediction.train == "always"
        learner = make_learner(config, self.dataset, with_module)
        fields, settings = flatten(config), config.optimizers[config.optimizer]
        used = [fields[name] for name in _USED]
        key = json.dumps([used, config.optimizer, flatten(settings), with_module])
        if key not in self._programs:
            self.console.doing(
                f"compiling {config.model}, width {config.width}, {config.optimizer}"
            )
            self._programs[key] = Programs(
                jax.jit(lambda k: init(learner, k)),
                jax.jit(lambda state: restart(learner, state)),
                make_train(learner, self.devices),
                make_predict(learner, self.devices),
            )
        return self._programs[key]

    def check_preemption(self) -> None:
        """Stops all processes of the run if one of them was asked to."""
        (requested,) = highest(self.preemption.requested)
        if requested:
            raise Preempted
