"""The command: from what the command line says to an exit status."""

import sys
from pathlib import Path

import jax
from absl import flags

from aljax import cluster, environment, processes, side_by_side, status
from aljax.arguments import parse, usage
from aljax.checkpoint import PREEMPTED, Preempted, Preemption, disk_failed, quiet
from aljax.config import Config, flatten
from aljax.console import answer, complain
from aljax.experiment import check_batches, check_pools, prepare_data, run_experiment
from aljax.grid import Run, expand, only, shard, validate_grid
from aljax.parallel import choose_devices, meet, use_compile_cache
from aljax.processes import by_first
from aljax.results import check_experiment, check_workdir, write_results

DONE, ERROR, USAGE = 0, 1, 2


def _show(groups: list[list[Run]], workdir: Path) -> int:
    runs = [run for group in groups for run in group]
    lines = [str(workdir / run.folder) for run in runs]
    lines.append(f"{len(runs)} runs; nothing was written.")
    if processes.first():
        answer("\n".join(lines))
    return DONE


def _check_alone(values: flags.FlagValues, flag: str) -> None:
    """Refuses flags of one process among several where this one starts others."""
    for name in ("coordinator", "processes", "process"):
        if getattr(values, name) is not None:
            raise ValueError(
                f"--{name}={getattr(values, name)} makes this one of several processes "
                f"of a run, but {flag} starts processes itself; leave one of them out."
            )


def _submit(
    values: flags.FlagValues, config: Config, groups: list[list[Run]], workdir: Path
) -> int:
    """Submits what is unfinished of a grid; knows nothing of this machine's devices."""
    given = values.flag_values_dict()
    cluster.sbatch_options(given)
    _check_alone(values, "--launcher=slurm")
    if values.runs_per_node != 1:
        raise ValueError(
            f"--runs_per_node={values.runs_per_node} is for one machine; with "
            "--launcher=slurm each run is a task, and --slurm_gpus=1 puts most of them "
            "side by side."
        )
    check_batches(config, values.devices or cluster.devices(given))
    check_workdir(workdir, config)
    check_pools(groups, values.data_dir)
    waiting, left_out = cluster.unfinished(groups, workdir)
    count = f"{len(waiting)} of {len(groups)} tasks; {left_out}"
    if not waiting:
        answer(f"{count}; nothing was submitted.")
        return DONE
    script = cluster.array_script(waiting, workdir, given, sys.argv)
    if values.dry_run:
        answer(f"{script}\n{count}; nothing was submitted or written.")
        return DONE
    prepare_data(groups, values.data_dir)
    job = cluster.submit(script, workdir)
    answer(f"job {job}: {count}.\nlogs: {workdir / cluster.FOLDER / job}_*.log")
    return DONE


def _side_by_side(
    values: flags.FlagValues,
    config: Config,
    groups: list[list[Run]],
    workdir: Path,
    preemption: Preemption,
) -> int:
    """Carries out several runs at a time, in processes of their own."""
    _check_alone(values, f"--runs_per_node={values.runs_per_node}")
    shares = side_by_side.shares(values.runs_per_node)
    check_batches(config, values.devices or shares[0].devices)
    check_workdir(workdir, config)
    check_pools(groups, values.data_dir)
    if values.dry_run:
        return _show(groups, workdir)
    prepare_data(groups, values.data_dir)
    failures = side_by_side.carry_out(groups, shares, sys.argv, preemption)
    write_results(workdir)
    for failure in failures:
        complain(failure)
    return ERROR if failures else DONE


def _run(values: flags.FlagValues, config: Config, preemption: Preemption) -> int:
    workdir = Path(
        values.workdir or f"runs/{Path(values['config'].config_filename).stem}"
    )
    validate_grid(config)
    groups = shard(expand(config), values.shard)
    if values.only is not None:
        groups = only(groups, values.only)
    if values.status:
        check_experiment(workdir, config)
        answer("\n".join(status.lines(groups, workdir)))
        return DONE
    if values.launcher == "slurm":
        return _submit(values, config, groups, workdir)
    cluster.refuse_flags(values.flag_values_dict())
    if values.runs_per_node != 1:
        return _side_by_side(values, config, groups, workdir, preemption)
    processes.join(values.coordinator, values.processes, values.process)
    alike = values.shard, values.only, values.devices, values.parallel
    processes.check_same(
        (str(workdir), *alike, flatten(config)),
        "was given another experiment, other runs or other devices than the first one; "
        "give all of them the same flags, or --processes=1 where each is on its own.",
    )
    environment.trim_after_compiling()
    use_compile_cache(values.compile_cache_dir)
    devices = choose_devices(values.devices, values.parallel)
    meet(devices)
    check_batches(config, devices.size)
    by_first(check_workdir, workdir, config)
    by_first(check_pools, groups, values.data_dir)
    if values.dry_run:
        return _show(groups, workdir)
    failures = run_experiment(
        groups, workdir, config, values.data_dir, devices, preemption
    )
    for failure in failures * processes.first():
        complain(failure)
    return ERROR if failures else DONE


def _status_of(error: Exception) -> int:
    """Says what went wrong, and returns the exit status.

    A disk that failed ends the process here. An error that has no sentence is raised
    again, or printed where other processes are not to wait for this one.
    """
    if isinstance(error, OSError) and disk_failed(error):
        if not processes.heard(error):
            complain(
                f"{error}. What was saved before is kept; make room, or bring the disk "
                "back, and run the same command to go on."
            )
        processes.leave(ERROR)  # threads that cannot write have much to say at the end
    if isinstance(error, ValueError) and not processes.program_failed(error):
        if not processes.heard(error):
            complain(str(error))
        return USAGE
    if not jax.distributed.is_initialized():
        raise error
    complain(processes.broken(error))
    return ERROR


def main() -> int:
    """Runs what the command line says; returns the exit status.

    0 done · 75 preempted, state saved, the same command goes on · 1 an error, 2 bad
    usage.
    """
    quiet()
    if any(argument in ("--help", "-help", "-h") for argument in sys.argv[1:]):
        answer(usage())
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
