"""The experiment: runs of trials of cycles, each resumed where it stopped."""

import contextlib
from pathlib import Path

import jax

from aljax import cycle as cycles
from aljax.checkpoint import Checkpoints, Preemption, Saved
from aljax.config import Config, Data, check_pool
from aljax.console import Console
from aljax.cycle import Diverged, Trial
from aljax.data import Dataset, load, pool_size
from aljax.grid import Run, members
from aljax.keys import key_for
from aljax.learner import TrainState
from aljax.lock import locked
from aljax.parallel import Devices, check_share
from aljax.pool import Pool
from aljax.processes import by_first, check_same, first
from aljax.results import (
    RunFolder,
    check_run,
    write_experiment,
    write_results,
)
from aljax.session import Session
from aljax.timing import CompileClock


def open_trial(
    session: Session, run: Run, folder: RunFolder, inherited: TrainState | None
) -> Trial:
    """Takes up a run where its newest good checkpoint left it, or at its beginning.

    Args:
        session: what the process shares.
        run: which run.
        folder: its folder, created.
        inherited: the weights that the trial before left, for `reset=never`.
    """
    programs = session.programs(run.config)
    checkpoints = Checkpoints(folder.checkpoints)
    key = key_for(run.config.seed, run.trial, 1, "weights")
    saved = by_first(checkpoints.restore, jax.eval_shape(programs.init, key))
    pool = Pool(session.pool_size)
    trial = Trial(session, run, folder, checkpoints, programs, pool)
    if saved is not None:
        _check_rows(folder, saved)
        trial.pool = Pool(session.pool_size, saved.labelled)
        trial.progress = saved.progress
        trial.put(saved.state)
        return trial
    trial.put(programs.init(key) if inherited is None else inherited)
    return trial


def _check_rows(folder: RunFolder, saved: Saved) -> None:
    written = len(by_first(folder.rows))
    if written < saved.progress.cycle - 1:
        raise ValueError(
            f"{folder.path}: cycles.jsonl has {written} cycles, but the checkpoint is "
            f"in cycle {saved.progress.cycle}; put the missing rows back, or delete "
            "this folder to begin the run again."
        )


def record(trial: Trial) -> None:
    """Evaluates and writes the row of the current cycle, unless it is written."""
    rows, cycle = by_first(trial.folder.rows), trial.progress.cycle
    if len(rows) < cycle:
        row = cycles.evaluate(trial)
        by_first(trial.folder.append, row)
        trial.session.console.cycle(row, trial.config.trials, trial.config.cycles)
    elif rows[cycle - 1]["queried"] != trial.queried.tolist():
        raise ValueError(
            f"{trial.folder.path}: cycle {cycle} now buys other images than the row "
            "in cycles.jsonl says; was it begun on another kind of machine? Delete "
            "this folder to begin the run again."
        )


def run_trial(
    session: Session, run: Run, workdir: Path, inherited: TrainState | None = None
) -> TrainState:
    """Carries one run to its end; returns its last state.

    Raises:
        Diverged: after writing down why.
        ValueError: another process is at it, or the folder is not as it was left.
    """
    folder = RunFolder(workdir / run.folder)
    about = run, session.dataset.fingerprint, session.devices
    check = session.preemption.check
    with contextlib.ExitStack() as stack:
        by_first(lambda: stack.enter_context(locked(folder.path, check)))
        by_first(folder.create, *about)
        try:
            return _run_cycles(open_trial(session, run, folder, inherited))
        except Diverged as error:
            by_first(folder.fail, str(error))
            raise


def _run_cycles(trial: Trial) -> TrainState:
    run, session = trial.run, trial.session
    try:
        session.console.skip(cycles.images_done(trial))
        if trial.progress.cycle:
            cycles.train(trial)
            record(trial)
        for cycle in range(trial.progress.cycle + 1, run.config.cycles + 1):
            cycles.buy(trial, cycle)
            cycles.begin(trial, cycle)
            trial.save()
            cycles.train(trial)
            record(trial)
        by_first(trial.checkpoints.keep_last)
    finally:
        trial.checkpoints.close()
    return trial.state


def run_group(session: Session, group: list[Run], workdir: Path) -> None:
    """Runs trials that need each other, in order; finished ones are skipped."""
    state = None
    for run in group:
        folder = RunFolder(workdir / run.folder)
        rows = by_first(folder.rows)
        finished = len(rows) == run.config.cycles
        if finished and not run.leaky:
            session.console.skip(run.training_images)
            continue
        state = run_trial(session, run, workdir, state if run.leaky else None)
        if not finished:
            session.console.table(run.folder, by_first(folder.rows))


def check_pools(groups: list[list[Run]], data_dir: str | None) -> None:
    """Checks that the pool of every run is there and large enough, reading no image."""
    sizes: dict[str, int] = {}
    for group in groups:
        data = group[0].config.data
        key = str(data)
        if key not in sizes:
            sizes[key] = pool_size(data.name, data.path, data.image_size, data_dir)
        check_pool(group[0].config, sizes[key])


def prepare_data(groups: list[list[Run]], data_dir: str | None) -> None:
    """Fetches and reads all images once, before many processes want them at once."""
    for data in {str(g[0].config.data): g[0].config.data for g in groups}.values():
        load(data.name, data.path, data.image_size, data_dir)


def _read(data: Data, data_dir: str | None) -> Dataset:
    """Loads the images; the first process prepares the files that the others find."""
    what = data.name, data.path, data.image_size, data_dir
    loaded: list[Dataset] = []
    by_first(lambda: loaded.append(load(*what)))
    dataset = loaded[0] if loaded else load(*what)
    check_same(
        dataset.fingerprint,
        f"finds other images under --config.data.name={data.name} than the first one; "
        "give all of them the same.",
    )
    return dataset


def check_batches(config: Config, devices: int) -> None:
    """Checks that devices can share the batches of every member of a grid evenly.

    Raises:
        ValueError: names the field and the sizes that would fit.
    """
    for _, member in members(config):
        check_share("batch_size", member.batch_size, devices)
        check_share("score_batch_size", member.score_batch_size, devices)


def run_experiment(
    groups: list[list[Run]],
    workdir: Path,
    config: Config,
    data_dir: str | None,
    devices: Devices,
    preemption: Preemption,
) -> list[str]:
    """Carries out groups of runs, one after the other.

    Args:
        groups: from `grid.expand`, validated.
        workdir: checked with `results.check_workdir`.
        config: what the groups were expanded from.
        data_dir: where tensorflow-datasets keeps prepared datasets; None: its default.
        devices: what it runs on; `check_batches` has found that they fit.
        preemption: asked between two pieces of work.

    Returns:
        Why runs failed; empty if all are done.

    Raises:
        Preempted: the state is saved, the same call goes on.
        ValueError: the images or the workdir are not what the configuration says, or
            another process runs one of the runs.
    """
    clock, failures = CompileClock(), []
    runs = [run for group in groups for run in group]
    sessions: dict[str, Session] = {}
    total = sum(run.training_images for run in runs)
    with Console(total, quiet=not first()) as console:
        for group in groups:
            data = group[0].config.data
            if str(data) not in sessions:
                sessions.clear()  # one pool on the devices at a time
                console.doing(f"reading {data.name}")
                dataset = _read(data, data_dir)
                sessions[str(data)] = Session(
                    dataset, devices, clock, console, preemption
                )
            session = sessions[str(data)]
            for run in group:
                folder = workdir / run.folder
                by_first(check_run, folder, run, session.dataset.fingerprint)
            by_first(write_experiment, workdir, config, devices)
            try:
                run_group(session, group, workdir)
            except Diverged as error:
                failures.append(str(error))
                console.say(f"stopped: {error}")
            by_first(write_results, workdir)
        console.paths([workdir / "results.json", *(workdir / r.folder for r in runs)])
    return failures
