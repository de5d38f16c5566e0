"""What SLURM is asked: which tasks it has, and to take a script."""

import os
import re
import shlex
import subprocess
import uuid
from pathlib import Path

from aljax.grid import Run
from aljax.launch.slurm import FOLDER
from aljax.runs.plan import Plan
from aljax.runs.status import read_status

_CHANGE = "change the --slurm flags, or submit fewer tasks with --shard=K/N"


def queued(workdir: Path) -> set[str]:
    """Folders of the runs of tasks submitted before that are waiting or running."""
    scripts = sorted((workdir / FOLDER).glob("*.sh"))
    if not scripts:
        return set()
    # Finished jobs are not listed, and a list of one's own asks little of SLURM.
    command = ["squeue", "--noheader", "--array", "--me", "--format=%F_%K"]
    listed = _call(command, "run the same command again when SLURM answers")
    tasks, found = set(listed.split()), set()
    for script in scripts:
        lines = re.findall(r"^    \[(\d+)\]=(.*)$", script.read_text(), re.MULTILINE)
        for task, folder in lines:
            if f"{script.stem}_{task}" in tasks:
                found.add(shlex.split(folder)[0])
    return found


def unfinished(plan: Plan) -> tuple[list[list[Run]], str]:
    """Picks the groups that are neither done nor under way; says what is left out."""
    waiting, done, under_way = [], 0, 0
    known = queued(plan.workdir)
    for group in plan.groups:
        states = [read_status(run, plan.workdir).state for run in group]
        if all(state == "done" for state in states):
            done += 1
        elif "running" in states or any(run.folder in known for run in group):
            under_way += 1
        else:
            waiting.append(group)
    return waiting, f"{done} done and {under_way} queued or running are left out"


def submit(script: str, workdir: Path) -> str:
    """Hands a script to sbatch; keeps it in the workdir under the job's number.

    Returns:
        the job's number.

    Raises:
        ValueError: sbatch refuses, or there is none; no folder is left behind.
    """
    folder = workdir / FOLDER
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)  # before a task wants its log there
    part = folder / f"{uuid.uuid4().hex}.part"
    part.write_text(script)  # before a job is queued of which nobody would know
    try:
        command = ["sbatch", "--parsable"]
        job = _call(command, _CHANGE, script).strip().partition(";")[0]
    except ValueError:
        part.unlink()
        for path in made:
            path.rmdir()
        raise
    part.replace(folder / f"{job}.sh")  # which others read
    return job


def _call(command: list[str], remedy: str, text: str = "") -> str:
    # Inside a job, its own settings would be taken for those of the tasks.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SLURM_") or name == "SLURM_CONF"
    }
    try:
        done = subprocess.run(
            command, input=text, env=environment, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise ValueError(
            f"--launcher=slurm: there is no {command[0]} here; run this on a machine "
            "of a SLURM cluster, or leave --launcher out."
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise ValueError(f"--launcher=slurm: {command[0]} refuses ({said}); {remedy}.")
    return done.stdout
