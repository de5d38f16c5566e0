"""One cycle of one trial: query, label, train, evaluate."""

import time
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from aljax import metrics, timing
from aljax.checkpoint import Checkpoints, Preempted, Progress
from aljax.config import Config
from aljax.grid import Run
from aljax.inference import predict_all
from aljax.keys import host_random, key_for
from aljax.learner import TrainState
from aljax.parallel import replicate
from aljax.pool import Pool
from aljax.processes import by_first, highest
from aljax.results import RunFolder
from aljax.session import Programs, Session
from aljax.strategies import STRATEGIES, Outputs, shuffled
from aljax.training import Labels, Report, steps_per_epoch

CALL_SECONDS = 2.0  # of training that one call of the compiled program may take


class Diverged(ArithmeticError):
    """The loss, or what the network says, is no longer a finite number."""


@dataclass
class Trial:
    """One run under way: its pool, weights and accounts."""

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
        return key_for(self.config.seed, self.run.trial, cycle, purpose)

    def save(self) -> None:
        by_first(self._save)

    def _save(self) -> None:
        self.folder.check()
        self.checkpoints.save(self.state, self.pool.labelled, self.progress)

    def put(self, state: TrainState) -> None:
        """Lays a state on the devices, where the training program wants it."""
        self.state = replicate(state, self.session.devices)

    @property
    def queried(self) -> np.ndarray:
        """The images bought for the current cycle."""
        first = self.progress.cycle == 1
        bought = self.config.initial if first else self.config.budget
        return self.pool.labelled[-bought:]

    @property
    def last_step(self) -> int:
        per_epoch = steps_per_epoch(len(self.pool), self.config.batch_size)
        return self.config.epochs * per_epoch


def predict(trial: Trial, indices: np.ndarray, needs: frozenset[str]) -> Outputs:
    """What the trial's network says of images, stopping early if preempted.

    Raises:
        Diverged: it says something that is not finite.
    """
    outputs = predict_all(
        trial.programs.predict,
        trial.state,
        trial.session.images,
        indices,
        trial.config.score_batch_size,
        needs,
        trial.session.check_preemption,
    )
    if not all(np.isfinite(values).all() for values in outputs.values()):
        what = "an output of the network is not a finite number after"
        raise Diverged(_advice(trial, what, trial.last_step - 1))
    return Outputs(**outputs)


def choose(trial: Trial, cycle: int) -> tuple[np.ndarray, int]:
    """The pool indices to buy for `cycle`, and how many images were scored for it."""
    config, unlabelled = trial.config, trial.pool.unlabelled
    if cycle == 1 and config.initial_query == "random":
        random = host_random(trial.key(cycle, "initial"))
        return unlabelled[shuffled(random, len(unlabelled), config.initial)], 0
    strategy = STRATEGIES[config.strategy]
    budget = config.initial if cycle == 1 else config.budget
    if config.pool_subset is not None:
        random = host_random(trial.key(cycle, "subset"))
        size = max(config.pool_subset, budget)
        unlabelled = np.sort(unlabelled[shuffled(random, len(unlabelled), size)])
    needs = strategy.needs - {"labelled"}
    candidates = predict(trial, unlabelled, needs) if needs else Outputs()
    labelled = None
    if "labelled" in strategy.needs:
        labelled = predict(trial, trial.pool.labelled, needs)
    random = host_random(trial.key(cycle, "query"))
    chosen = strategy.select(random, candidates, labelled, len(unlabelled), budget)
    return unlabelled[chosen], len(unlabelled) if needs else 0


def buy(trial: Trial, cycle: int) -> None:
    """Queries for `cycle`, labels what was chosen, and starts its accounts."""
    with timing.Stopwatch(trial.session.clock) as watch:
        chosen, scored = choose(trial, cycle)
    rate = scored / watch.seconds if scored and watch.seconds else None
    trial.pool = trial.pool.label(chosen)
    trial.progress = Progress(
        cycle,
        query_seconds=watch.seconds,
        compile_seconds=watch.compiling,
        score_images_per_second=rate,
    )


def begin(trial: Trial, cycle: int) -> None:
    """Sets the weights that `cycle` starts from."""
    with timing.Stopwatch(trial.session.clock) as watch:
        if trial.config.reset != "cycle":
            trial.put(trial.programs.restart(trial.state))
        elif cycle > 1:
            trial.put(trial.programs.init(trial.key(cycle, "weights")))
    trial.progress.compile_seconds += watch.compiling


def train(trial: Trial) -> None:
    """Trains the current cycle to its end, saving now and then.

    Raises:
        Diverged: the loss is not finite; nothing of these steps is saved.
        Preempted: after saving.
    """
    session, config, devices = trial.session, trial.config, trial.session.devices
    labels = replicate(_labels(trial), devices)
    key = replicate(trial.key(trial.progress.cycle, "train"), devices)
    step, steps, saved = int(trial.state.step), 1, time.monotonic()
    while step < trial.last_step:
        target = min(step + steps, trial.last_step)
        with timing.Stopwatch(session.clock) as watch:
            trial.state, report = trial.programs.train(
                trial.state,
                session.images,
                session.labels,
                labels,
                key,
                replicate(np.int32(target), devices),
            )
            report = jax.device_get(report)
        trial.progress.train_seconds += watch.seconds
        trial.progress.compile_seconds += watch.compiling
        if report.bad_step >= 0:
            what = "the loss is not a finite number in"
            raise Diverged(_advice(trial, what, int(report.bad_step)))
        _tell(trial, step, target, watch.seconds, report)
        requested, due, per_step = highest(
            session.preemption.requested,
            time.monotonic() - saved >= config.checkpoint_seconds,
            max(watch.seconds, 1e-9) / (target - step),
        )
        steps = max(1, min(2 * (target - step), int(CALL_SECONDS / per_step)))
        step = target
        if requested or due or step == trial.last_step:
            trial.save()
            saved = time.monotonic()
        if requested:
            raise Preempted


def _labels(trial: Trial) -> Labels:
    config, count = trial.config, len(trial.pool)
    capacity = config.initial + (config.cycles - 1) * config.budget
    indices = np.zeros(capacity, np.int32)
    indices[:count] = trial.pool.labelled
    return Labels(indices, np.int32(count))


def _images(step: int, count: int, batch_size: int) -> int:
    """Images seen in the first `step` steps of a cycle."""
    epochs, rest = divmod(step, steps_per_epoch(count, batch_size))
    return epochs * count + rest * batch_size


def images_done(trial: Trial) -> int:
    """Images that the trial has trained on so far, in all of its cycles."""
    cycle, config = trial.progress.cycle, trial.config
    if cycle == 0:
        return 0
    before = sum(config.initial + c * config.budget for c in range(cycle - 1))
    step = int(trial.state.step)
    current = _images(step, len(trial.pool), config.batch_size)
    return config.epochs * before + current


def _tell(trial: Trial, first: int, last: int, seconds: float, report: Report) -> None:
    config, count = trial.config, len(trial.pool)
    seen = _images(last, count, config.batch_size)
    epoch = min(seen // count + 1, config.epochs)
    where = (
        f"{trial.run.folder} · cycle {trial.progress.cycle}/{config.cycles} · "
        f"epoch {epoch}/{config.epochs}"
    )
    detail = f"loss {report.loss:.3f} · accuracy {report.accuracy:.1%}"
    seen -= _images(first, count, config.batch_size)
    trial.session.console.trained(seen, seconds, where, detail)


def _advice(trial: Trial, what: str, step: int) -> str:
    config = trial.config
    epoch = step // steps_per_epoch(len(trial.pool), config.batch_size) + 1
    rate = config.optimizers[config.optimizer].learning_rate
    return (
        f"{trial.run.folder}: {what} cycle {trial.progress.cycle}, epoch {epoch}. "
        f"Lower config.optimizers.{config.optimizer}.learning_rate (now {rate:g})"
        + (", or set config.precision=float32" * (config.precision != "float32"))
        + ". What was written before is kept."
    )


def evaluate(trial: Trial) -> dict[str, Any]:
    """Measures the network on the whole test set; returns the row of the cycle."""
    session, progress, config = trial.session, trial.progress, trial.config
    with timing.Stopwatch(session.clock) as watch:
        needs = frozenset({"logits"})
        if trial.state.loss_params is not None:
            needs |= {"predicted_loss"}
        outputs = predict(trial, session.test_indices, needs)
        labels = session.dataset.test_labels
        measured = metrics.evaluate(outputs.logits, outputs.predicted_loss, labels)
    rows, labelled = by_first(trial.folder.rows), len(trial.pool)
    first = rows[0]["test_accuracy"] if rows else measured["test_accuracy"]
    trained = config.epochs * labelled
    return {
        "trial": trial.run.trial,
        "cycle": progress.cycle,
        "labeled": labelled,
        **measured,
        "label_efficiency": metrics.label_efficiency(
            measured["test_accuracy"], labelled, first, config.initial, trial.pool.size
        ),
        "train_seconds": progress.train_seconds,
        "evaluate_seconds": watch.seconds,
        "query_seconds": progress.query_seconds,
        "compile_seconds": progress.compile_seconds + watch.compiling,
        "train_images_per_second": trained / max(progress.train_seconds, 1e-9),
        "score_images_per_second": progress.score_images_per_second,
        "peak_device_bytes": timing.peak_device_bytes(),
        "peak_host_bytes": timing.peak_host_bytes(),
        "queried": trial.queried.tolist(),
        "leaky": trial.run.leaky,
    }
