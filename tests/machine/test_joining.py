"""Which processes join others as one run: flags say so, or who started them does."""

import importlib.util
import os
import threading

import jax
import pytest

from aljax.machine import processes


@pytest.fixture
def asked(monkeypatch):
    """What JAX is asked to join; this process has no launcher."""
    calls = []
    monkeypatch.setattr(
        jax.distributed, "initialize", lambda *a, **k: calls.append((a, k))
    )
    for name in os.environ:
        if name.startswith(("SLURM_", "OMPI_", "KUBERNETES_", "JOB_", "CUDA_")):
            monkeypatch.delenv(name)
    return calls


SRUN = {"SLURM_STEP_NODELIST": "node[1-2]", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3"}


@pytest.mark.parametrize(
    "environment, given, joined",
    [
        ({}, (None, None, None), None),
        ({}, ("a:1", 2, 0), ("a:1", 2, 0)),
        (SRUN, (None, None, None), (None, 2, 1)),
        (SRUN | {"SLURM_NTASKS": "1"}, (None, None, None), None),
        (SRUN, (None, 1, None), None),
        # A batch script outside of srun.
        ({"SLURM_NTASKS": "2"}, (None, None, None), None),
        (MPIRUN, (None, None, None), (None, 4, 3)),
        (MPIRUN, ("a:1", None, None), ("a:1", 4, 3)),
        # Any pod; only those of an indexed job are asked about.
        ({"KUBERNETES_SERVICE_HOST": "1.2.3.4"}, (None, None, None), None),
    ],
)
def test_who_joins(environment, given, joined, asked, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    processes.join(*given)
    assert [call[0][:3] for call in asked] == ([joined] if joined else [])


def test_a_pod_of_an_indexed_job_joins(asked, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "1.2.3.4")
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    processes.join(None, None, None)
    assert [call[0][:3] for call in asked] == [(None, None, None)]


@pytest.mark.parametrize(
    "tasks, visible, devices",
    [
        ("1(x2)", "0,1,2,3", [0, 1, 2, 3]),
        ("1", "", None),
        ("2", "0,1", [1]),
        ("2", "1", [0]),  # --gpus-per-task=1
    ],
)
def test_gpus_of_a_process_of_srun(tasks, visible, devices, asked, monkeypatch):
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_LOCALID", "1")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", tasks)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    processes.join(None, None, None)
    assert asked[0][0][3] == devices


@pytest.mark.parametrize(
    "given, words",
    [
        ((None, 2, None), "--processes=2 --process=None: give all three"),
        (("host", 2, 0), "--coordinator=host: write HOST:PORT"),
        (("host:1", 2, 2), "--process=2: choose 0 to 1"),
    ],
)
def test_flags_that_do_not_fit(given, words, asked):
    with pytest.raises(ValueError, match=words):
        processes.join(*given)
    assert not asked


def test_what_is_waited_for_is_said_after_a_while(asked, monkeypatch):
    told, said = threading.Event(), []
    monkeypatch.setattr(processes, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(processes, "complain", lambda x: (said.append(x), told.set()))
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: told.wait(60))
    processes.join("a:1", 2, 0)
    (sentence,) = said
    assert "still waiting for the other processes" in sentence


def test_nothing_is_said_once_all_have_come(asked):
    processes.join("a:1", 2, 0)
    timers = [t for t in threading.enumerate() if isinstance(t, threading.Timer)]
    assert all(timer.finished.is_set() for timer in timers)
