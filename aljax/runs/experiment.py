"""The experiment: groups of runs of trials of cycles, each resumed where it stopped."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aljax.data import Data
from aljax.grid import Run
from aljax.learner import TrainState
from aljax.machine import processes
from aljax.machine.clock import CompileClock
from aljax.machine.devices import Devices
from aljax.machine.preemption import Preemption
from aljax.runs.advice import advice
from aljax.runs.console import Console
from aljax.runs.cycle import record, run_cycle, train
from aljax.runs.folder import Damaged, RunFolder
from aljax.runs.lock import holder, locked
from aljax.runs.pace import Pace, Paces, kind_of
from aljax.runs.plan import Plan
from aljax.runs.results import write_results
from aljax.runs.session import Session, TooLarge, Unfit, check_preemption
from aljax.runs.trial import Diverged, Trial, open_trial

TOO_LARGE = (
    "does not fit into the memory of the devices; share each batch among more of "
    "them, or choose a smaller config.batch_size, config.score_batch_size or "
    "config.width, in another workdir."
)
IMAGES_TOO_LARGE = (
    "the images of {} do not fit into the memory that each device has left; choose "
    "fewer or smaller images, in another workdir."
)
_FULL = "RESOURCE_EXHAUSTED"


def run_experiment(plan: Plan, devices: Devices, preemption: Preemption) -> list[str]:
    """Carries out the groups of a plan, one after the other.

    Args:
        plan: checked for these devices.
        devices: what it runs on.
        preemption: asked between two pieces of work.

    Returns:
        Why runs failed; empty if all are done.

    Raises:
        Preempted: the state is saved, the same call goes on.
        ValueError: the images or the workdir are not what the configuration says, or
            another process runs one of the runs.
    """
    session, failures, read = None, [], None
    with (
        CompileClock() as clock,
        Console(plan.training_images, several=plan.several) as console,
    ):
        shared = clock, console, preemption, Paces(plan.compile_cache_dir)
        for sentence in advice(plan, devices.platform):
            console.say(sentence)
        for group in plan.groups:
            if _already_done(console, group, plan.workdir):
                continue
            check_preemption(preemption)
            data = group[0].config.data
            afterwards = console.counted + sum(run.training_images for run in group)
            try:
                if data != read:
                    session, read = None, data  # one pool on the devices at a time
                    session = _read(plan, data, devices, *shared)
                if session is None:
                    raise TooLarge(IMAGES_TOO_LARGE.format(data.name))
                check_group(session, group, plan.workdir)
                plan.write(devices)
                run_group(session, group, plan.workdir)
            except (Diverged, Damaged, Unfit) as error:
                if type(error) is Unfit and not plan.config.sweep:
                    raise  # nothing else was asked for, or could be had
                failures.append(str(error))
                console.say(f"stopped: {error}")
                console.skip(afterwards - console.counted)
                _write_down(str(error), group, plan.workdir)
            write_results(plan.workdir)
        folders = [plan.workdir / run.folder for run in plan.runs]
        console.paths([*write_results(plan.workdir), *folders])
    return failures


def _read(plan: Plan, data: Data, devices: Devices, *shared) -> Session:
    """Reads images and lays them on the devices; TooLarge if they do not fit."""
    _, console, *_ = shared
    console.doing(f"reading {data.name}")
    dataset = plan.read_images(data)
    with _telling_what_is_full(IMAGES_TOO_LARGE.format(data.name)):
        return Session(dataset, devices, *shared)


@contextlib.contextmanager
def _telling_what_is_full(sentence: str) -> Iterator[None]:
    """Makes TooLarge of what XLA raises where the memory of a device is full.

    In one process alone: others would wait for it.
    """
    try:
        yield
    except Exception as error:
        full = processes.program_failed(error) and _FULL in str(error)
        if not full or processes.count() > 1:
            raise
        raise TooLarge(sentence) from None


def _write_down(reason: str, group: list[Run], workdir: Path) -> None:
    """Leaves word of why runs of a group are not finished, in their folders.

    Not in those that cannot be read or written, which whoever looks finds out, nor in
    those at which another process is.
    """
    for run in group:
        folder = RunFolder(workdir / run.folder)
        with contextlib.suppress(Damaged, PermissionError):
            if not _finished(run, workdir) and not processes.by_first(
                holder, folder.path
            ):
                folder.fail(reason)


def check_group(session: Session, group: list[Run], workdir: Path) -> None:
    """Refuses other images, other settings and networks that cannot be trained.

    Raises:
        Damaged: a file of a run is not as it was left; others can go on.
        Unfit: they do not fit, or cannot be trained; others may.
        ValueError: nothing of this experiment can go on as it is.
    """
    for run in group:
        folder = RunFolder(workdir / run.folder)
        folder.refuse_other(run, session.dataset.fingerprint)
    try:
        session.programs(group[0].config)
    except ValueError as error:
        kind = TooLarge if isinstance(error, TooLarge) else Unfit
        raise kind(f"{group[0].folder}: {error}") from None


def _already_done(console: Console, group: list[Run], workdir: Path) -> bool:
    """Whether all runs of a group were done before; says what they ended with."""
    try:
        if not all(_finished(run, workdir) for run in group):
            return False
        for run in group:
            RunFolder(workdir / run.folder).refuse_other(run)
    except Damaged:
        return False  # which is told where the run is taken up
    for run in group:
        folder = RunFolder(workdir / run.folder)
        console.skip(run.training_images)
        console.already_done(run, folder.rows())
    return True


def _finished(run: Run, workdir: Path) -> bool:
    return len(RunFolder(workdir / run.folder).rows()) == run.config.cycles


def run_group(session: Session, group: list[Run], workdir: Path) -> None:
    """Runs trials that need each other, in order; finished ones are skipped."""
    state = None
    for run in group:
        finished = _finished(run, workdir)
        if finished and not run.leaky:
            session.console.skip(run.training_images)
            continue
        session.check_preemption()
        session.console.begin(run)
        folder = RunFolder(workdir / run.folder)
        state = run_trial(session, run, folder, state if run.leaky else None)
        if not finished:
            rows = folder.rows()
            session.console.table(run.folder, rows)
            session.paces.remember(kind_of(run.config, session.devices), _pace(rows))


def _pace(rows: list[dict[str, Any]]) -> Pace:
    """What a run took, out of its rows."""
    last, total = rows[-1], {}
    for name in ("train_seconds", "compile_seconds"):
        total[name] = sum(row[name] for row in rows)
    images = sum(row["train_seconds"] * row["train_images_per_second"] for row in rows)
    return Pace(
        total["train_seconds"] / max(images, 1.0),
        total["compile_seconds"],
        last["peak_device_bytes"] or last["peak_host_bytes"],
    )


def run_trial(
    session: Session, run: Run, folder: RunFolder, inherited: TrainState | None = None
) -> TrainState:
    """Carries one run to its end; returns its last state.

    Raises:
        Diverged: the run came to nothing.
        Unfit: it does not fit, or what is its user's own refuses.
        ValueError: another process is at it, or the folder is not as it was left.
    """
    with locked(folder.path, session.preemption.check):
        changed = folder.create(run, session.dataset, session.devices)
        if changed:
            session.console.say(f"{run.folder} goes on, but otherwise: {changed}")
        try:
            with _telling_what_is_full(f"{run.folder}: {TOO_LARGE}"):
                return run_cycles(open_trial(session, run, folder, inherited))
        except (Damaged, Unfit):
            raise
        except ValueError as error:
            if processes.program_failed(error) or processes.count() > 1:
                raise
            raise Unfit(f"{run.folder}: {error}") from error


def run_cycles(trial: Trial) -> TrainState:
    """Finishes the cycle that a trial is in, and carries out those after it."""
    try:
        trial.session.console.skip(trial.images_done)
        if trial.progress.cycle:
            train(trial)
            record(trial)
        for cycle in range(trial.progress.cycle + 1, trial.config.cycles + 1):
            run_cycle(trial, cycle)
        trial.checkpoints.keep_last()
    finally:
        trial.checkpoints.close()
    return trial.state
