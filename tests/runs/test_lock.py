"""Two processes never work in one folder; a lock does not outlive its process."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aljax.machine.preemption import Preempted, Preemption
from aljax.runs.lock import holder, locked

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, time
from pathlib import Path
from aljax.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """Another process, which has locked `tmp_path / "run"`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def enter(folder):
    with locked(folder):
        pass


def test_a_locked_folder_is_refused_and_its_process_named(other, tmp_path):
    folder = tmp_path / "run"
    before = (folder / "lock.json").read_bytes()
    with pytest.raises(ValueError) as error:
        enter(folder)
    about = json.loads(before)
    assert str(error.value) == (
        f"{folder} is being run by process {other.pid} on {socket.gethostname()} "
        f"since {about['started']}; wait until it ends, stop it, or give every process "
        "its own --shard or --workdir."
    )
    assert (folder / "lock.json").read_bytes() == before
    assert f"process {other.pid}" in holder(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_ends_with_its_process(other, tmp_path, number):
    other.send_signal(number)
    other.wait()
    folder = tmp_path / "run"
    assert json.loads((folder / "lock.json").read_text())["process"] == other.pid
    assert holder(folder) is None
    with locked(folder):
        assert f"process {os.getpid()} " in holder(folder)
    assert holder(folder) is None


def test_folders_are_locked_one_by_one(other, tmp_path):
    enter(tmp_path / "another")


def test_looking_at_locks_writes_nothing(tmp_path):
    assert holder(tmp_path / "nowhere") is None
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    enter(tmp_path / "run")
    before = (tmp_path / "run" / "lock.json").stat()
    assert holder(tmp_path / "run") is None
    assert (tmp_path / "run" / "lock.json").stat() == before


def test_looking_at_a_lock_stops_nobody(tmp_path, monkeypatch):
    """A process that begins while another looks waits until it has looked."""
    enter(tmp_path)
    with (tmp_path / "lock.json").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)

        def look_away(seconds):
            fcntl.flock(looking, fcntl.LOCK_UN)

        monkeypatch.setattr(time, "sleep", look_away)
        enter(tmp_path)


def test_a_requeued_task_waits_for_the_lock_of_a_lost_machine(
    other, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        if sum(waited) > 90:  # as NFS may take
            other.kill()
            other.wait()

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: sum(waited))
    enter(tmp_path / "run")
    assert f"locked by process {other.pid} on" in caplog.text
    assert "waiting up to 180 s" in caplog.text


def test_what_is_called_while_waiting_can_end_the_wait(other, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    preemption, waited = Preemption(), []

    def sleep(seconds):
        waited.append(seconds)
        preemption.requested = len(waited) == 3

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(Preempted), locked(tmp_path / "run", preemption.check):
        pass
    assert sum(waited) < 10  # of a patience of 180
    assert f"process {other.pid} " in holder(tmp_path / "run")


def test_an_error_inside_gives_the_lock_back(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    enter(tmp_path)


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch, caplog):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    enter(tmp_path)
    assert "keeps no locks (No locks available)" in caplog.text
    assert holder(tmp_path) is None


def test_a_lock_that_somebody_keeps_to_themselves_is_nobodys(tmp_path, monkeypatch):
    def refuse(path, *how):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert holder(tmp_path) is None
