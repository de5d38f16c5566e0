"""The processes of one run stop together: asked to, locked out, or one being lost."""

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from aljax.launch import command_line
from aljax.machine import processes
from aljax.machine.preemption import PREEMPTED
from aljax.runs.lock import locked
from tests.runs.test_interruption import command
from tests.support import together

SHORT = ("--config.epochs=8",)
PATIENCE_SECONDS = 30  # for the others to go once a process has died
WAIT_SECONDS = int(os.environ.get("ALJAX_WAIT", "3"))  # for a lock


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_the_others_go_when_one_dies(victim, programs, tmp_path):
    started = together.start(command(programs, tmp_path / "run", *SHORT), 2)
    wait_for_saves(tmp_path / "run", started)
    started[victim].kill()
    begun = time.monotonic()
    status, said = together.finish(started, PATIENCE_SECONDS)[1 - victim]
    assert time.monotonic() - begun < PATIENCE_SECONDS
    # The second is what JAX says, and how it ends, if it notices first.
    assert status in (command_line.ERROR, -signal.SIGABRT), said
    assert "has lost the others" in said or "another task died" in said, said
    if victim == 1:
        return
    # One process with one device takes the run up where two with two left it.
    (status, said), *_ = together.finish(
        together.start(command(programs, tmp_path / "run", *SHORT))
    )
    assert status == 0, said
    (path,) = tmp_path.rglob("cycles.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["cycle"] for row in rows] == [1, 2, 3]


def failure():
    """What a call raises whose program fails, after two that did not."""
    fails = []

    def check(x):
        assert not fails
        return x

    shape = jax.ShapeDtypeStruct((), np.float32)
    program = jax.jit(lambda x: jax.pure_callback(check, shape, x))
    for _ in range(2):  # the second takes JAX's short way
        jax.block_until_ready(program(np.float32(1)))
    fails.append(True)
    with pytest.raises((ValueError, jax.errors.JaxRuntimeError)) as caught:
        jax.block_until_ready(program(np.float32(1)))
    return caught.value


def test_programs_that_fail_are_told_from_wrong_input():
    said = "UNKNOWN: Gloo AllGather failed"
    assert processes.program_failed(failure())
    assert processes.program_failed(jax.errors.JaxRuntimeError(said))
    assert processes.program_failed(ValueError(said))
    assert not processes.program_failed(ValueError(f"config.model: {said}"))
    assert not processes.program_failed(KeyError(said))


def test_one_of_several_tells_of_any_error_and_leaves(monkeypatch, capsys):
    error = PermissionError("not yours")
    with pytest.raises(PermissionError):
        command_line._status_of(error)
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    assert command_line._status_of(error) == command_line.ERROR
    words = "failed or has lost the others (PermissionError: not yours)"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("heard", [False, True])
def test_one_process_tells_of_a_disk_that_is_full(heard, monkeypatch, capsys):
    monkeypatch.setattr(processes, "leave", sys.exit)
    error = OSError(errno.ENOSPC, "No space left on device")
    error.told_by_first = heard
    with pytest.raises(SystemExit) as left:
        command_line._status_of(error)
    assert left.value.code == command_line.ERROR
    said = capsys.readouterr().err
    assert said.count("What was saved before is kept") == (not heard)


@pytest.mark.parametrize("number", [0, 1])
def test_the_first_process_leaves_last(number, monkeypatch):
    done = []
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_index", lambda: number)
    monkeypatch.setattr(processes.time, "sleep", done.append)
    monkeypatch.setattr(processes.os, "_exit", done.append)
    processes.leave(3)
    assert done == [processes.LEAVE_SECONDS] * (number == 0) + [3]


# The second dies once both have agreed on something; the first would go on agreeing.
DIES = """
import itertools, os, sys
from aljax.launch import command_line
from aljax.machine import processes
def agree(*arguments):
    for step in itertools.count():
        processes.largest(step)
        if not processes.first():
            os._exit(1)
command_line.run_experiment = agree
sys.exit(command_line.main())
"""


@pytest.mark.slow
def test_a_lost_process_is_not_taken_for_a_wrong_flag(tmp_path):
    (status, said), _ = together.finish(
        together.start([f"--workdir={tmp_path}"], 2, program=("-c", DIES)),
        PATIENCE_SECONDS,
    )
    assert status == command_line.ERROR
    assert "process 0 of 2 failed or has lost the others" in said


@pytest.mark.slow
def test_one_that_is_asked_to_stop_stops_all(programs, tmp_path):
    flags = command(programs, tmp_path / "run", "--config.epochs=100")
    started = together.start(flags, 2)
    wait_for_saves(tmp_path / "run", started)
    started[1].send_signal(signal.SIGTERM)
    (status, said), (other, silent) = together.finish(started)
    assert status == other == PREEMPTED, said + silent
    told = "aljax: preempted"  # JAX has such a word of its own
    assert told in said and told not in silent


@pytest.mark.slow
@pytest.mark.parametrize("asked", [False, True])
def test_all_wait_for_a_locked_folder(asked, programs, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    arguments = command(programs, tmp_path / "run", *SHORT)
    ((_, said),) = together.finish(together.start([*arguments, "--dry_run"]))
    with locked(Path(said.splitlines()[0])):
        started = together.start(arguments, 2)
        assert any("waiting up to 180 s" in line for line in started[0].stdout)
        if asked:
            for process in started:
                process.send_signal(signal.SIGTERM)
            together.finish(started, PATIENCE_SECONDS)
        else:
            time.sleep(WAIT_SECONDS)
    statuses = [status for status, _ in together.finish(started)]
    assert statuses == [PREEMPTED if asked else 0] * 2
    written = [path.read_text() for path in tmp_path.rglob("cycles.jsonl")]
    assert [text.count("\n") for text in written] == ([] if asked else [3])


def wait_for_saves(workdir, started):
    deadline = time.monotonic() + 120
    while len(together.saves(workdir)) < 2:
        assert started[0].poll() is None, together.finish(started)
        assert time.monotonic() < deadline
        time.sleep(0.05)
