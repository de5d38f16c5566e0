"""One trial under way: its pool, its weights, its accounts, and how it is taken up."""

from dataclasses import dataclass, field
from functools import cached_property

import jax
import numpy as np

from aljax.config import Config, bought_in, labels_in
from aljax.grid import Run
from aljax.keys import host_random, key_for
from aljax.learner import TrainState
from aljax.machine.devices import replicate
from aljax.pool import Pool
from aljax.runs.checkpoint import Checkpoints, Progress, Saved
from aljax.runs.folder import Damaged, RunFolder
from aljax.runs.session import Programs, Session
from aljax.strategies import shuffled
from aljax.training import LabelledSet, Report, images_in, steps_per_epoch


class Diverged(ArithmeticError):
    """The loss, or what the network says, is no longer a finite number."""


@dataclass
class Trial:
    """One run under way."""

    session: Session
    run: Run
    folder: RunFolder
    checkpoints: Checkpoints
    programs: Programs
    pool: Pool
    state: TrainState | None = None
    progress: Progress = field(default_factory=lambda: Progress(cycle=0))

    @property
    def config(self) -> Config:
        return self.run.config

    def key(self, cycle: int, purpose: str) -> jax.Array:
        """The key of one purpose in one cycle of this trial."""
        return key_for(self.config.seed, self.run.trial, cycle, purpose)

    def save(self) -> None:
        """Saves weights, purchases and accounts."""
        self.folder.check()
        self.checkpoints.save(self.state, self.pool.labelled, self.progress)

    def put(self, state: TrainState) -> None:
        """Lays a state on the devices, where the training program wants it."""
        self.state = replicate(state, self.session.devices)

    @property
    def queried(self) -> np.ndarray:
        """The images bought for the current cycle."""
        return self.pool.labelled[-bought_in(self.config, self.progress.cycle) :]

    @cached_property
    def held_out(self) -> np.ndarray:
        """The images of the first purchase that are evaluated on, and never trained on.

        They are the same in every cycle, and weights that go on have not seen them.
        """
        first = self.pool.labelled[: self.config.initial]
        random = host_random(self.key(1, "validation"))
        return np.sort(first[shuffled(random, len(first), self.config.validation)])

    @property
    def evaluated(self) -> tuple[np.ndarray, np.ndarray]:
        """The images to measure the network on, and their classes: the whole test set.

        Where images are held out, these take its place.
        """
        dataset = self.session.dataset
        if not self.config.validation:
            return self.session.test_indices, dataset.test_labels
        return self.held_out, dataset.train_labels[self.held_out]

    @property
    def training(self) -> np.ndarray:
        """The labelled images that are trained on, in the order they were bought."""
        labelled = self.pool.labelled
        if not self.config.validation:
            return labelled
        return labelled[~np.isin(labelled, self.held_out)]

    @property
    def labelled(self) -> LabelledSet:
        """What is trained on, padded to what the last cycle will hold."""
        count = len(self.training)
        indices = np.zeros(labels_in(self.config, self.config.cycles), np.int32)
        indices[:count] = self.training
        return LabelledSet(indices, np.int32(count))

    @property
    def labels_before_last(self) -> int:
        """Labels that the run's last query finds."""
        return labels_in(self.config, max(self.config.cycles - 1, 1))

    @property
    def last_step(self) -> int:
        """Steps of the current cycle."""
        per_epoch = steps_per_epoch(len(self.training), self.config.batch_size)
        return self.config.epochs * per_epoch

    def images_seen(self, step: int) -> int:
        """Images seen in the first `step` steps of the current cycle."""
        return images_in(step, len(self.training), self.config.batch_size)

    @property
    def images_done(self) -> int:
        """Images that the trial has trained on so far, in all of its cycles."""
        cycle, config = self.progress.cycle, self.config
        if cycle == 0:
            return 0
        before = sum(labels_in(config, c) - config.validation for c in range(1, cycle))
        return config.epochs * before + self.images_seen(int(self.state.step))

    def tell(self, first: int, last: int, seconds: float, report: Report) -> None:
        """Tells the console of the steps of the current cycle from `first` to `last`.

        Args:
            first: steps done before.
            last: steps done now.
            seconds: how long they took, without compiling.
            report: loss and accuracy of these steps.
        """
        config, seen = self.config, self.images_seen(last)
        epoch = min(seen // len(self.training) + 1, config.epochs)
        where = (
            f"cycle {self.progress.cycle}/{config.cycles} · "
            f"epoch {epoch}/{config.epochs} · {self.run.folder}"
        )
        detail = f"loss {report.loss:.3f} · accuracy {report.accuracy:.1%}"
        images = seen - self.images_seen(first)
        self.session.console.trained(images, seconds, where, detail)

    def diverged(self, what: str, step: int) -> Diverged:
        """The error to raise where numbers went wrong in a step, with advice."""
        config = self.config
        if not self.progress.cycle:
            return Diverged(f"{self.run.folder}: {what} drawing the first weights.")
        epoch = step // steps_per_epoch(len(self.training), config.batch_size) + 1
        settings = vars(config.optimizers[config.optimizer]).items()
        rates = " or ".join(
            f"config.optimizers.{config.optimizer}.{name} (now {value:g})"
            for name, value in settings
            if name.endswith("learning_rate")
        )
        narrow = config.precision != "float32"
        other = ", or set config.precision=float32" if narrow else ""
        return Diverged(
            f"{self.run.folder}: {what} cycle {self.progress.cycle}, epoch {epoch}. "
            f"Lower {rates}{other}. What was written before is kept."
        )


def open_trial(
    session: Session, run: Run, folder: RunFolder, inherited: TrainState | None
) -> Trial:
    """Takes up a run where its newest good checkpoint left it, or at its beginning.

    Args:
        session: what the process shares.
        run: which run.
        folder: its folder, created.
        inherited: what the trial before left, for `reset=never`; its network goes on,
            beside a new loss prediction module.

    Raises:
        Damaged: rows are missing that the checkpoint has seen written, or it is of
            another network or optimizer.
        DiskFailed: there may be a checkpoint, but it cannot be read.
    """
    programs = session.programs(run.config)
    checkpoints = Checkpoints(folder.checkpoints)
    key = key_for(run.config.seed, run.trial, 1, "weights")
    saved = checkpoints.restore(programs.shapes)
    pool = Pool(session.pool_size)
    trial = Trial(session, run, folder, checkpoints, programs, pool)
    if saved is None:
        trial.put(_first_state(programs.init(key), inherited))
        return trial
    _check_rows(folder, saved)
    trial.pool = Pool(session.pool_size, saved.labelled)
    trial.progress = saved.progress
    trial.put(saved.state)
    return trial


def _first_state(fresh: TrainState, inherited: TrainState | None) -> TrainState:
    """What a trial begins with; in the study, too, its loss module was its own."""
    if inherited is None:
        return fresh
    return inherited._replace(
        loss_params=fresh.loss_params, loss_opt_state=fresh.loss_opt_state
    )


def _check_rows(folder: RunFolder, saved: Saved) -> None:
    written = len(folder.rows())
    if written < saved.progress.cycle - 1:
        raise Damaged(
            f"{folder.path}: cycles.jsonl has {written} cycles, but the checkpoint is "
            f"in cycle {saved.progress.cycle}; put the missing rows back, or delete "
            "this folder to begin the run again."
        )
