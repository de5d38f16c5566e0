"""One cycle of one trial: query, label, train, evaluate."""

import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from aljax import metrics
from aljax.config import bought_in
from aljax.inference import predict_all
from aljax.keys import host_random
from aljax.machine.clock import Stopwatch, peak_device_bytes, peak_host_bytes
from aljax.machine.devices import replicate
from aljax.machine.preemption import Preempted
from aljax.machine.processes import largest
from aljax.runs.checkpoint import Progress
from aljax.runs.folder import Damaged
from aljax.runs.trial import Trial
from aljax.strategies import (
    STRATEGIES,
    Outputs,
    Query,
    Strategy,
    check_choice,
    check_scores,
    shuffled,
)

CALL_SECONDS = 2.0  # of training that one call of the compiled program may take


def run_cycle(trial: Trial, cycle: int) -> None:
    """Carries out one cycle from its beginning to its row."""
    purchase = query(trial, cycle)
    label(trial, cycle, purchase)
    begin(trial, cycle)
    trial.save()
    train(trial)
    record(trial)


def predict(trial: Trial, indices: np.ndarray, needs: frozenset[str]) -> Outputs:
    """What the trial's network says of images, stopping early if preempted.

    Raises:
        Diverged: it says something that is not finite.
    """
    key = None
    if trial.programs.stochastic:
        key = trial.key(trial.progress.cycle, "dropout")
        key = replicate(key, trial.session.devices)
    outputs = predict_all(
        trial.programs.predict,
        trial.state,
        trial.session.images,
        indices,
        trial.config.score_batch_size,
        needs,
        trial.session.asking(),
        key,
        trial.session.devices.ahead,
    )
    if not all(np.isfinite(values).all() for values in outputs.values()):
        what = "an output of the network is not a finite number after"
        raise trial.diverged(what, trial.last_step - 1)
    return Outputs(**outputs)


@dataclass(frozen=True)
class Purchase:
    """Which images a query buys, and what is known of them."""

    indices: np.ndarray  # [budget], best first
    query_seconds: float = 0.0
    compile_seconds: float = 0.0
    images_scored: int = 0
    scores: np.ndarray | None = None  # [budget], larger = more wanted
    logits: np.ndarray | None = None  # [budget, K]


def query(trial: Trial, cycle: int) -> Purchase:
    """Chooses the images to buy for a cycle, in the pool's indices."""
    config, unlabelled = trial.config, trial.pool.unlabelled
    if cycle == 1 and config.initial_query == "random":
        random = host_random(trial.key(cycle, "initial"))
        return Purchase(unlabelled[shuffled(random, len(unlabelled), config.initial)])
    strategy = STRATEGIES[config.strategy]
    with Stopwatch(trial.session.clock) as watch:
        indices = _candidates(trial, cycle)
        chosen, seen, scores = _choose(trial, cycle, strategy, indices)
    logits = None if seen.logits is None else seen.logits[chosen]
    if logits is None:  # a few images, off the clock of a strategy that asks nothing
        logits = predict(trial, indices[chosen], frozenset({"logits"})).logits
    return Purchase(
        indices[chosen],
        watch.seconds,
        watch.compiling,
        len(indices) if strategy.needs else 0,
        scores,
        logits,
    )


def _candidates(trial: Trial, cycle: int) -> np.ndarray:
    """The unlabelled images that the strategy may choose from, ascending."""
    unlabelled, size = trial.pool.unlabelled, trial.config.pool_subset
    if size is None:
        return unlabelled
    random = host_random(trial.key(cycle, "subset"))
    size = max(size, bought_in(trial.config, cycle))
    return np.sort(unlabelled[shuffled(random, len(unlabelled), size)])


def _choose(
    trial: Trial, cycle: int, strategy: Strategy, indices: np.ndarray
) -> tuple[np.ndarray, Outputs, np.ndarray | None]:
    """Positions of a strategy's choice, what the network says of candidates, scores.

    Scores are of the choice, where the strategy has any.
    """
    needs = strategy.needs - {"labelled"}
    seen = predict(trial, indices, needs | {"logits"}) if needs else Outputs()
    labelled = None
    if "labelled" in strategy.needs and len(trial.pool.labelled):
        labelled = predict(trial, trial.pool.labelled, needs)
    elif "labelled" in strategy.needs:
        labelled = Outputs(**{name: getattr(seen, name)[:0] for name in needs})
    budget = bought_in(trial.config, cycle)
    query = Query(
        candidates=seen,
        count=len(indices),
        budget=budget,
        random=host_random(trial.key(cycle, "query")),
        labelled=labelled,
        options=trial.config.query,
        devices=trial.session.devices,
        check=trial.session.check_preemption,
        most_candidates=_most_candidates(trial),
        most_labelled=trial.labels_before_last,
    )
    name, scores = trial.config.strategy, None
    if strategy.score:
        scores = check_scores(name, strategy.score(seen), len(indices))
    chosen = check_choice(name, strategy.select(query), len(indices), budget)
    return chosen, seen, None if scores is None else scores[chosen]


def _most_candidates(trial: Trial) -> int:
    """The candidates of the run's largest query."""
    config, first = trial.config, trial.config.initial_query == "strategy"
    unlabelled = trial.pool.size - (0 if first else config.initial)
    if config.pool_subset is None:
        return unlabelled
    wanted = max(config.pool_subset, config.initial if first else 0)
    return min(unlabelled, wanted)


def label(trial: Trial, cycle: int, purchase: Purchase) -> None:
    """Buys the labels of what a query chose, and opens the accounts of the cycle."""
    rate = None
    if purchase.images_scored and purchase.query_seconds:
        rate = purchase.images_scored / purchase.query_seconds
    scores, logits = purchase.scores, purchase.logits
    trial.pool = trial.pool.label(purchase.indices)
    trial.progress = Progress(
        cycle,
        query_seconds=purchase.query_seconds,
        compile_seconds=purchase.compile_seconds,
        score_images_per_second=rate,
        queried_scores=None if scores is None else scores.tolist(),
        queried_predictions=None if logits is None else logits.argmax(-1).tolist(),
    )


def begin(trial: Trial, cycle: int) -> None:
    """Sets the weights that a cycle starts from."""
    with Stopwatch(trial.session.clock) as watch:
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
    session, devices = trial.session, trial.session.devices
    labelled = replicate(trial.labelled, devices)
    key = replicate(trial.key(trial.progress.cycle, "train"), devices)
    step, steps, saved = int(trial.state.step), 1, time.monotonic()
    while step < trial.last_step:
        target = min(step + steps, trial.last_step)
        with Stopwatch(session.clock) as watch:
            trial.state, report = trial.programs.train(
                trial.state,
                session.images,
                session.labels,
                labelled,
                key,
                replicate(np.int32(target), devices),
            )
            report = jax.device_get(report)
        trial.progress.train_seconds += watch.seconds
        trial.progress.compile_seconds += watch.compiling
        if report.bad_step >= 0:
            what = "the loss is not a finite number in"
            raise trial.diverged(what, int(report.bad_step))
        trial.tell(step, target, watch.seconds, report)
        requested, due, per_step = largest(
            session.preemption.requested,
            time.monotonic() - saved >= trial.config.checkpoint_seconds,
            max(watch.seconds, 1e-9) / (target - step),
        )
        steps = max(1, min(2 * (target - step), int(CALL_SECONDS / per_step)))
        step = target
        if requested or due or step == trial.last_step:
            trial.save()
            saved = time.monotonic()
        if requested:
            raise Preempted


def record(trial: Trial) -> None:
    """Evaluates and writes the row of the current cycle, unless it is written.

    Raises:
        Damaged: the row that is there has bought other images.
    """
    rows, cycle = trial.folder.rows(), trial.progress.cycle
    if len(rows) < cycle:
        row = evaluate(trial, rows)
        trial.folder.append(row)
        trial.session.console.cycle(trial.run, row)
    elif rows[cycle - 1]["queried"] != trial.queried.tolist():
        raise Damaged(
            f"{trial.folder.path}: cycle {cycle} now buys other images than the row "
            "in cycles.jsonl says; was it begun on another kind of machine? Delete "
            "this folder to begin the run again."
        )


def evaluate(trial: Trial, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Measures the network on `trial.evaluated`; returns the row of the cycle.

    Args:
        trial: trained to the end of its current cycle.
        rows: of the cycles before.
    """
    session, progress = trial.session, trial.progress
    with Stopwatch(session.clock) as watch:
        needs = frozenset({"logits"})
        if trial.state.loss_params is not None:
            needs |= {"predicted_loss"}
        indices, labels = trial.evaluated
        outputs = predict(trial, indices, needs)
        measured = metrics.evaluate(outputs.logits, outputs.predicted_loss, labels)
    accuracy, labelled = measured["test_accuracy"], len(trial.pool.labelled)
    first = rows[0]["test_accuracy"] if rows else accuracy
    efficiency = metrics.label_efficiency(
        accuracy, labelled, first, trial.config.initial, trial.pool.size
    )
    trained = trial.config.epochs * len(trial.training)
    return {
        "trial": trial.run.trial,
        "cycle": progress.cycle,
        "labeled": labelled,
        **measured,
        "label_efficiency": efficiency,
        "train_seconds": progress.train_seconds,
        "evaluate_seconds": watch.seconds,
        "query_seconds": progress.query_seconds,
        "compile_seconds": progress.compile_seconds + watch.compiling,
        "train_images_per_second": trained / max(progress.train_seconds, 1e-9),
        "score_images_per_second": progress.score_images_per_second,
        "peak_device_bytes": peak_device_bytes(),
        "peak_host_bytes": peak_host_bytes(),
        "queried": trial.queried.tolist(),
        "queried_labels": session.dataset.train_labels[trial.queried].tolist(),
        "queried_predictions": progress.queried_predictions,
        "queried_scores": progress.queried_scores,
        "evaluated_on": "validation" if trial.config.validation else "test",
        "leaky": trial.run.leaky,
    }
