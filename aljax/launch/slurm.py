"""A grid as an array of preemptible SLURM jobs: one task per group of runs.

What is submitted is a bash script that a person can read, and that lists which task
runs what; each task is the same `launch.py` for one group. A task that was stopped with
its state saved (exit status 75) asks SLURM to queue it again, since SLURM takes a job
that ends by itself for ended. A failed node's tasks are queued again by SLURM itself.

Why not submitit: it would run the command from a pickled function, whose handler
requeues on one user signal before the command has saved, lets SIGTERM pass, which is
what a preempted job gets, and gives up after three time limits.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from aljax.grid import Run
from aljax.launch.task import task_command
from aljax.machine.preemption import PREEMPTED

LAUNCHERS = ("local", "slurm")
LEAD_SECONDS = 120  # the signal comes so long before the time limit
SHORTEST_SECONDS = 300
FOLDER = "slurm"  # in the workdir: scripts and logs, by the number of their job

_SCRIPT = """\
#!/bin/bash
{options}

# What each task of the array runs.
runs=(
{runs}
)

# By srun, because SLURM sends its signals to the steps of a job, not to its script.
srun --ntasks={nodes} --kill-on-bad-exit=1 \\
    ${{SLURM_CPUS_PER_TASK:+--cpus-per-task=$SLURM_CPUS_PER_TASK}} \\
    {command} \\
    "--only=${{runs[$SLURM_ARRAY_TASK_ID]}}"
status=$?

# {preempted}: the state is saved. 138, 143: SIGUSR1 or SIGTERM came before the command
# listened. A cancelled job does not get here: SLURM ends this script too.
case $status in {preempted} | 138 | 143)
    for pause in 5 20 60 0; do
        scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}" && break
        sleep $pause
    done
    ;;
esac
{waiting}exit $status
"""
_WAITING = """\
# This may be what a lost node left behind: SLURM queues the task again once it has
# found the node down, if the task is still there by then.
case $status in 1 | 134 | 137)
    sleep 420
    ;;
esac
"""


@dataclass(frozen=True)
class _Flag:
    """A flag of its own for an option of sbatch."""

    option: str  # with {} for the value
    form: str  # what a value looks like, a regular expression
    allowed: str
    help: str


_COUNT = (r"[1-9]\d*", "a whole number of at least 1")
_FLAGS = {
    "slurm_partition": _Flag(
        "--partition={}",
        r"[\w.-]+(,[\w.-]+)*",
        "a name, such as gpu",
        "Partition of the tasks (default: the cluster's).",
    ),
    "slurm_nodes": _Flag(
        "",
        *_COUNT,
        "Nodes of each task, with a process on each; what is said of GPUs, cores and "
        "memory is for each of them (default: 1).",
    ),
    "slurm_gpus": _Flag(
        "--gres=gpu:{}",
        r"([\w.-]+:)?[1-9]\d*",
        "NUMBER or TYPE:NUMBER, as a100:2",
        "GPUs of each task: NUMBER or TYPE:NUMBER (default: none).",
    ),
    "slurm_cpus": _Flag(
        "--cpus-per-task={}", *_COUNT, "CPU cores of each task (default: 1)."
    ),
    "slurm_memory": _Flag(
        "--mem={}",
        r"[1-9]\d*[KMGT]",
        "a size with its unit, such as 32G",
        "Host memory of each task, such as 32G (default: the cluster's).",
    ),
    "slurm_time": _Flag(
        "--time={}",
        r"\d+|\d+:\d\d(:\d\d)?|\d+-\d+(:\d\d){0,2}",
        "MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS",
        "Time limit of each task, after which it is queued again and goes on: MINUTES, "
        "HOURS:MINUTES:SECONDS or DAYS-HOURS (default: the partition's).",
    ),
    "slurm_concurrency": _Flag(
        "", *_COUNT, "How many tasks may run at a time (default: any number)."
    ),
    "slurm_options": _Flag(
        "",
        r"[a-z][a-z-]*=[^\n]*",
        "NAME=VALUE,NAME=VALUE, as account=x,exclusive=",
        "Any other options of sbatch: NAME=VALUE,NAME=VALUE; NAME= for one without a "
        "value.",
    ),
}
# The script and its requeue depend on these.
_FIXED = """
    array chdir nodes ntasks ntasks-per-node no-requeue requeue signal
""".split()
_OF_FLAGS = {
    flag.option[2:].split("=")[0]: name for name, flag in _FLAGS.items() if flag.option
}
Given = Mapping[str, str | None]  # values by flag; None where a flag is not set


def define_flags(values: flags.FlagValues) -> None:
    """Defines `--launcher` and the flags of SLURM."""
    flags.DEFINE_enum(
        "launcher",
        LAUNCHERS[0],
        LAUNCHERS,
        "Run here, or submit the grid as an array of SLURM jobs.",
        flag_values=values,
    )
    for name, flag in _FLAGS.items():
        flags.DEFINE_string(name, None, flag.help, flag_values=values)


def sbatch_options(given: Given) -> list[str]:
    """Turns the flags of SLURM into options of sbatch, or raises ValueError."""
    found = []
    for name, flag in _FLAGS.items():
        value = given[name]
        if value is None:
            continue
        if not re.fullmatch(flag.form, value):
            raise ValueError(f"--{name}={value}: write {flag.allowed}.")
        found += [flag.option.format(value)] if flag.option else []
    if given["slurm_time"]:
        _check_time(given["slurm_time"])
    return found + _other_options(given["slurm_options"])


def _check_time(text: str) -> None:
    days, dash, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash or len(parts) == 3:
        hours, minutes, seconds = [*parts, 0, 0][:3]
    else:
        hours, minutes, seconds = [0, *parts, 0][:3]
    total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if total < SHORTEST_SECONDS:
        raise ValueError(
            f"--slurm_time={text} is {total} s, and a task stops {LEAD_SECONDS} s "
            f"before its end; give at least {SHORTEST_SECONDS // 60} minutes."
        )


def _other_options(text: str | None) -> list[str]:
    """Splits at commas before NAME=, since values such as lists of nodes have some."""
    found = []
    for item in re.split(r",(?=[a-z][a-z-]*=)", text) if text else []:
        name, value = item.split("=", 1)
        if name in _OF_FLAGS:
            raise ValueError(
                f"--slurm_options={text}: {name} has a flag of its own; write "
                f"--{_OF_FLAGS[name]}={value}."
            )
        if name in _FIXED:
            raise ValueError(
                f"--slurm_options={text}: {name} is set by the launcher, which cannot "
                "do without; leave it out."
            )
        found.append(f"--{name}={value}" if value else f"--{name}")
    return found


def refuse_flags(given: Given) -> None:
    """Refuses flags of SLURM where nothing is submitted: ValueError names one."""
    for name in _FLAGS:
        if given[name] is not None:
            raise ValueError(
                f"--{name}={given[name]} is for --launcher=slurm; add that, or leave "
                "it out."
            )


def devices(given: Given) -> int:
    """How many devices each task has by its flags, with one on a node without GPUs."""
    gpus = given["slurm_gpus"] or "1"
    return int(given["slurm_nodes"] or 1) * int(gpus.rpartition(":")[2])


def array_script(
    groups: list[list[Run]], workdir: Path, given: Given, argv: list[str]
) -> str:
    """Writes what sbatch is to read: a task per group, of the command line `argv`."""
    limit, nodes = given["slurm_concurrency"], given["slurm_nodes"] or "1"
    logs = str((workdir / FOLDER).absolute()).replace("%", "%%")
    options = [
        f"--job-name=aljax-{workdir.absolute().name}",
        f"--array=1-{len(groups)}" + (f"%{limit}" if limit else ""),
        f"--nodes={nodes}",
        f"--ntasks={nodes}",
        "--ntasks-per-node=1",
        f"--chdir={Path.cwd()}",
        f"--output={logs}/%A_%a.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=USR1@{LEAD_SECONDS}",
        *sbatch_options(given),
    ]
    runs = [
        f"    [{task}]={shlex.quote(group[0].folder)}"
        for task, group in enumerate(groups, 1)
    ]
    return _SCRIPT.format(
        options="\n".join(f"#SBATCH {shlex.quote(option)}" for option in options),
        runs="\n".join(runs),
        nodes=nodes,
        command=shlex.join(task_command(argv)),
        preempted=PREEMPTED,
        waiting=_WAITING if nodes != "1" else "",
    )
