"""The command: from what the command line says to an exit status."""

import shlex
import sys
from pathlib import Path

import jax
from absl import flags

import aljax
from aljax import recipes
from aljax.config import Config, flatten
from aljax.launch import side_by_side, slurm, submission
from aljax.launch.flags import parse, usage
from aljax.launch.reporting import report_at_end
from aljax.machine import allocator, processes
from aljax.machine.devices import Devices, choose_devices, connect, use_compile_cache
from aljax.machine.preemption import PREEMPTED, Preempted, Preemption
from aljax.machine.terminal import answer, complain, open_streams
from aljax.runs import status
from aljax.runs.checkpoint import disk_failed, quiet
from aljax.runs.experiment import run_experiment
from aljax.runs.plan import Plan, make_plan
from aljax.runs.results import write_results

DONE, ERROR, USAGE = 0, 1, 2
_PROCESS_FLAGS = ("coordinator", "processes", "process")


def _show(plan: Plan, devices: Devices | None = None) -> int:
    """Lists the runs, and what they will take where it is known on what they go."""
    lines = [str(plan.workdir / run.folder) for run in plan.runs]
    lines += [status.estimate(plan, devices)] if devices else []
    lines.append(f"{len(plan.runs)} runs; nothing was written.")
    if processes.first():
        answer("\n".join(lines))
    return DONE


def _refuse_process_flags(
    values: flags.FlagValues, flag: str, names: tuple[str, ...]
) -> None:
    """Refuses to be one process among several where this one starts others."""
    for name in names:
        if getattr(values, name) is not None:
            raise ValueError(
                f"--{name}={getattr(values, name)} makes this one of several processes "
                f"of a run, but {flag} starts processes itself; leave one of them out."
            )


def _refuse_launcher(values: flags.FlagValues) -> None:
    """Refuses that each process of srun or mpirun carries out the same runs."""
    launched = processes.launched()
    if launched and values.processes != 1:
        raise ValueError(
            f"--runs_per_node={values.runs_per_node}: {launched[0]} processes were "
            "started together, and each would carry out the same runs; give each its "
            "own --shard=K/N and --processes=1."
        )


def _submit(values: flags.FlagValues, plan: Plan, preemption: Preemption) -> int:
    """Submits what is unfinished of a grid; knows nothing of this machine's devices."""
    given = values.flag_values_dict()
    slurm.sbatch_options(given)
    _refuse_process_flags(values, "--launcher=slurm", _PROCESS_FLAGS)
    if values.runs_per_node != 1:
        raise ValueError(
            f"--runs_per_node={values.runs_per_node} is for one machine; with "
            "--launcher=slurm each run is a task, and --slurm_gpus=1 puts most of them "
            "side by side."
        )
    plan.check(values.devices or slurm.devices(given))
    waiting, left_out = submission.unfinished(plan)
    count = f"{len(waiting)} of {len(plan.groups)} tasks; {left_out}"
    if not waiting:
        answer(f"{count}; nothing was submitted.")
        return DONE
    script = slurm.array_script(waiting, plan.workdir, given, sys.argv)
    if values.dry_run:
        answer(f"{script}\n{count}; nothing was submitted or written.")
        return DONE
    plan.prepare_data()
    if preemption.requested:
        complain("asked to stop; nothing was submitted.")
        return ERROR
    job = submission.submit(script, plan.workdir)
    answer(f"job {job}: {count}.\nlogs: {plan.workdir / slurm.FOLDER / job}_*.log")
    plan.write()  # tasks may wait for days: nobody submits another experiment here
    return DONE


def _side_by_side(values: flags.FlagValues, plan: Plan, preemption: Preemption) -> int:
    """Carries out several runs at a time, in processes of their own."""
    alone = values.processes == 1  # which each process is that is started here
    names = ("coordinator", "process") if alone else _PROCESS_FLAGS
    _refuse_process_flags(values, f"--runs_per_node={values.runs_per_node}", names)
    _refuse_launcher(values)
    shares = side_by_side.shares(values.runs_per_node)
    plan.check(values.devices or shares[0].devices)
    if values.dry_run:
        return _show(plan)
    plan.prepare_data()
    failures = side_by_side.carry_out(plan.groups, shares, sys.argv, preemption)
    write_results(plan.workdir)
    return _end(values, plan, failures)


def _here(values: flags.FlagValues, plan: Plan, preemption: Preemption) -> int:
    """Carries out the runs in this process, or as one of several."""
    with preemption.nothing_to_save():
        processes.join(values.coordinator, values.processes, values.process)
    alike = values.shard, values.only, values.devices, values.parallel
    processes.check_same(
        (str(plan.workdir), *alike, flatten(plan.config)),
        "was given another experiment, other runs or other devices than the first one; "
        "give all of them the same flags, or --processes=1 where each is on its own.",
    )
    allocator.trim_after_compiling()
    devices = choose_devices(values.devices, values.parallel)
    use_compile_cache(values.compile_cache_dir)
    connect(devices)
    plan.check(devices.size)
    if values.dry_run:
        return _show(plan, devices)
    return _end(values, plan, run_experiment(plan, devices, preemption))


def _end(values: flags.FlagValues, plan: Plan, failures: list[str]) -> int:
    """Says what failed, and writes the report, whose page is the last line."""
    for failure in failures:
        if processes.first():
            complain(failure)
    if values.report:
        page = report_at_end(plan, shlex.join(["aljax", *sys.argv[1:]]))
        if page and processes.first():
            answer(str(page))
    return ERROR if failures else DONE


def _run(values: flags.FlagValues, config: Config, preemption: Preemption) -> int:
    workdir = Path(values.workdir or f"runs/{recipes.name_of(values.config)}")
    which = values.shard, values.only, values.compile_cache_dir
    plan = make_plan(config, workdir, values.data_dir, *which)
    if values.status:
        plan.check_begun()
        plan.check_experiment()
        answer("\n".join(status.lines(plan)))
        return DONE
    if values.launcher == "slurm":
        return _submit(values, plan, preemption)
    slurm.refuse_flags(values.flag_values_dict())
    if values.runs_per_node != 1:
        return _side_by_side(values, plan, preemption)
    return _here(values, plan, preemption)


def _status_of(error: Exception) -> int:
    """Says what went wrong, and returns the exit status.

    A disk that failed ends the process here. An error that has no sentence is raised
    again, or printed where other processes are not to wait for this one.
    """
    if isinstance(error, OSError) and disk_failed(error):
        if not processes.told_by_first(error):
            complain(
                f"{error}. What was saved before is kept; make room, or let it be "
                "read and written again, and run the same command to go on."
            )
        processes.leave(ERROR)  # threads that cannot write have much to say at the end
    if isinstance(error, ValueError) and not processes.program_failed(error):
        if not processes.told_by_first(error):
            complain(str(error))
        return USAGE
    if not jax.distributed.is_initialized():
        raise error
    complain(processes.describe_failure(error))
    return ERROR


def main() -> int:
    """Runs what the command line says; returns the exit status.

    0 done · 75 preempted, state saved, the same command goes on · 1 an error, 2 bad
    usage.
    """
    open_streams()
    quiet()
    if any(argument in ("--help", "-help", "-h") for argument in sys.argv[1:]):
        answer(usage())
        return DONE
    if "--version" in sys.argv[1:]:
        answer(aljax.__version__)
        return DONE
    preemption = Preemption()
    preemption.install()
    try:
        values, config = parse()
        status = _run(values, config, preemption)
    except Preempted:
        if processes.first():
            complain("preempted; the state is saved. Run the same command to go on.")
        status = PREEMPTED
    except Exception as error:
        status = _status_of(error)
    if status not in (DONE, PREEMPTED) and jax.distributed.is_initialized():
        processes.leave(status)
    return status
