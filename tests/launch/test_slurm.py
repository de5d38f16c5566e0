"""A real SLURM takes the node away from a grid, which ends in the same rows."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.support import slurm, together

PATIENCE_SECONDS = 240

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(slurm.missing()),
        reason=f"not installed: {', '.join(slurm.missing())} (slurm-wlm, munge)",
    ),
]


@pytest.fixture
def cluster(request, monkeypatch):
    """The folder of a running SLURM; commands of this process go to it."""
    described = getattr(request, "param", {})
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        with slurm.running(Path(folder), **described) as config:
            monkeypatch.setenv("SLURM_CONF", str(config))
            yield Path(folder)


def arguments(programs, workdir):
    return [
        f"--workdir={workdir}",
        "--noreport",
        f"--compile_cache_dir={programs}",
        "--config.model=tiny",
        "--config.width=4",
        "--config.epochs=200",
        "--config.cycles=2",
        "--config.initial=64",
        "--config.budget=64",
        "--config.pool_subset=512",
        "--config.batch_size=16",
        "--config.checkpoint_seconds=0.5",
        "--config.sweep={'strategy': ('random', 'entropy')}",
    ]


def launch(programs, workdir, *flags):
    command = [sys.executable, str(together.LAUNCH), *arguments(programs, workdir)]
    done = subprocess.run([*command, *flags], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(what, workdir):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := what()):
        logs = [p.read_text()[-2000:] for p in workdir.glob("slurm/*.log")]
        assert time.monotonic() < deadline, logs
        time.sleep(0.2)
    return found


def slurm_says(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def states(job):
    listed = slurm_says("squeue", "--noheader", "--array", f"--job={job}", "-o%K %T")
    return dict(line.split() for line in listed.splitlines())


def wait_until_it_trains(job, task, workdir):
    """Until then a signal might come before it listens."""
    wait_for(lambda: states(job).get(task) == "RUNNING", workdir)
    before = set(together.saves(workdir))
    wait_for(lambda: set(together.saves(workdir)) - before, workdir)


def take_node_away(job, task, workdir):
    """Sends a job that the task makes room for, once that is training."""
    wait_until_it_trains(job, task, workdir)
    slurm_says("sbatch", "--partition=high", "--output=/dev/null", "--wrap=sleep 1")
    wait_for(lambda: states(job).get(task) == "PENDING", workdir)


def test_preempted_twice_and_finished(cluster, programs, tmp_path):
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    launch(programs, calm)
    said = launch(programs, rough, "--launcher=slurm", "--slurm_partition=low")
    job = said.split()[1].rstrip(":")
    take_node_away(job, "1", rough)
    # What is queued is not submitted again.
    again = launch(programs, rough, "--launcher=slurm", "--dry_run")
    assert "0 of 2 tasks" in again
    take_node_away(job, "1", rough)
    expected = together.rows(calm)
    assert len(expected) == 2
    wait_for(lambda: together.rows(rough) == expected, rough)
    log = (rough / "slurm" / f"{job}_1.log").read_text()
    assert log.count("preempted; the state is saved") == 2
    wait_for(lambda: not states(job), rough)


def test_time_limit_requeues_and_cancelling_does_not(cluster, programs, tmp_path):
    workdir = tmp_path / "w"
    flags = ["--launcher=slurm", "--config.epochs=5000", "--slurm_concurrency=1"]
    flags.append("--only=tiny/sgd/random/trial_1")
    job = launch(programs, workdir, *flags).split()[1].rstrip(":")
    log = workdir / "slurm" / f"{job}_1.log"
    wait_for(lambda: together.saves(workdir), workdir)
    # From now on the end is nearer than the signal is to come before it.
    slurm_says("scontrol", "update", f"JobId={job}_1", "TimeLimit=2")
    wait_for(lambda: states(job).get("1") == "PENDING", workdir)
    assert "preempted; the state is saved" in log.read_text()
    slurm_says("scontrol", "update", f"JobId={job}_1", "TimeLimit=60")
    wait_until_it_trains(job, "1", workdir)
    slurm_says("scancel", job)
    wait_for(lambda: not states(job), workdir)
    time.sleep(8)  # longer than a requeued job waits
    assert not states(job)
    assert log.read_text().count("preempted; the state is saved") == 2


@pytest.mark.parametrize("cluster", [{"cores": 2, "gpu": True}], indirect=True)
def test_tasks_share_the_gpus_of_a_node(cluster, programs, tmp_path):
    flags = ["--launcher=slurm", "--slurm_gpus=1", "--config.epochs=30"]
    job = launch(programs, tmp_path, *flags).split()[1].rstrip(":")
    wait_for(lambda: "RUNNING" in states(job).values(), tmp_path)
    # There are cores for both tasks, and a GPU for one.
    assert states(job) == {"1": "RUNNING", "2": "PENDING"}
    pending = "squeue", "--noheader", "--states=PENDING", "--format=%r"
    wait_for(lambda: slurm_says(*pending).split() == ["Resources"], tmp_path)
    wait_for(lambda: not states(job), tmp_path)
    assert [len(found) for found in together.rows(tmp_path).values()] == [2, 2]


@pytest.mark.parametrize("cluster", [{"gpu": True}], indirect=True)
def test_more_gpus_than_a_node_has_are_refused(cluster, programs, tmp_path):
    workdir = tmp_path / "w"
    command = [sys.executable, str(together.LAUNCH), *arguments(programs, workdir)]
    command += ["--launcher=slurm", "--slurm_gpus=2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "sbatch refuses" in done.stderr and "node configuration" in done.stderr
    assert not workdir.exists()


@pytest.mark.parametrize("cluster", [{"nodes": 2}], indirect=True)
def test_a_node_fails_under_a_run_of_two(cluster, programs, tmp_path):
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    flags = "--only=tiny/sgd/entropy/trial_1", "--config.epochs=30"
    alone = together.start([*arguments(programs, calm), *flags], 2)
    for status, said in together.finish(alone):
        assert status == 0, said
    said = launch(programs, rough, "--launcher=slurm", "--slurm_nodes=2", *flags)
    job = said.split()[1].rstrip(":")
    wait_for(lambda: len(together.saves(rough)) > 1, rough)
    about = json.loads(next(rough.glob("*/*/*/trial_1/config.json")).read_text())
    assert about["processes"] == 2
    node = f"NodeName={slurm.SECOND}"
    slurm_says("scontrol", "update", node, "State=DOWN", "Reason=test")
    wait_for(lambda: states(job).get("1") == "PENDING", rough)
    assert together.rows(rough) != together.rows(calm)
    # Refused if SLURM has found the node well again by itself.
    subprocess.run(["scontrol", "update", node, "State=RESUME"])
    wait_for(lambda: together.rows(rough) == together.rows(calm), rough)
    wait_for(lambda: not states(job), rough)
