"""Signals are heard at once, also while a call does not return; nohup is respected."""

import os
import signal
import subprocess
import sys
import time

import pytest

from aljax.machine.preemption import INTERRUPTED, PREEMPTED
from tests.runs.test_interruption import command
from tests.support import together

# Stands for compiling: a call that heeds no signal for a long time.
BUSY = """
import hashlib, sys
from aljax.machine.preemption import Preemption
preemption = Preemption()
preemption.install()
print("busy", flush=True)
hashlib.pbkdf2_hmac("sha256", b"a", b"b", {rounds})
print(preemption.requested, flush=True)
"""


def start(rounds: int) -> subprocess.Popen:
    child = subprocess.Popen(
        [sys.executable, "-c", BUSY.format(rounds=rounds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "busy\n"
    return child


def test_ctrl_c_is_answered_at_once_and_a_second_one_ends():
    child = start(10**9)
    child.send_signal(signal.SIGINT)
    first = child.stderr.readline()
    assert "as soon as the step or the compiling under way ends" in first
    assert child.poll() is None
    begun = time.monotonic()
    child.send_signal(signal.SIGINT)
    rest = child.communicate(timeout=30)[1]
    assert time.monotonic() - begun < 10
    assert child.returncode == INTERRUPTED
    assert rest == "aljax: ended at once; run the same command to go on.\n"


# Processes begin with what whoever starts these tests ignores.
HANGS_UP = pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) == signal.SIG_IGN,
    reason="these tests run under nohup",
)


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=HANGS_UP), signal.SIGUSR1],
)
def test_other_signals_are_remembered_silently(number):
    child = start(10**6)
    child.send_signal(number)
    said, complaint = child.communicate(timeout=60)
    assert (child.returncode, said, complaint) == (0, "True\n", "")


IDLE = """
import time
from aljax.machine.preemption import Preemption
preemption = Preemption()
preemption.install()
with preemption.nothing_to_save():
    print("busy", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_has_nothing_to_save_leaves_at_once(number):
    child = subprocess.Popen(
        [sys.executable, "-c", IDLE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "busy\n"
    child.send_signal(number)
    said = child.communicate(timeout=30)[1]
    assert child.returncode == PREEMPTED
    assert said == "aljax: stopped before it began. Run the same command to go on.\n"


def test_a_hangup_is_ignored_under_nohup():
    child = subprocess.run(
        ["nohup", sys.executable, "-c", BUSY.format(rounds=10) + HANGUP],
        capture_output=True,
        text=True,
    )
    assert child.stdout.split() == ["busy", "False", "False"]


HANGUP = """
import os, signal, time
os.kill(os.getpid(), signal.SIGHUP)
time.sleep(0.5)
print(preemption.requested)
"""


def test_a_process_that_lost_its_parent_is_to_stop():
    family = subprocess.run(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, timeout=60
    )  # which awaits the child too: it holds the same pipe
    assert family.returncode == -signal.SIGKILL
    assert family.stdout.split() == ["busy", "False", "alone"]


CHILD = (
    BUSY.format(rounds=10)
    + """
import os, signal, time
os.kill(os.getppid(), signal.SIGKILL)
deadline = time.monotonic() + 30
while not preemption.requested:
    assert time.monotonic() < deadline
    time.sleep(0.05)
print("alone", flush=True)
"""
)
PARENT = f"""
import os, subprocess, sys
own = os.environ | {{"ALJAX_PARENT": str(os.getpid())}}
subprocess.run([sys.executable, "-c", {CHILD!r}], env=own)
"""


@HANGS_UP
@pytest.mark.slow
def test_a_hangup_saves_and_the_same_command_goes_on(programs, tmp_path):
    arguments = command(programs, tmp_path / "w")
    (process,) = together.start(arguments)
    while not together.saves(tmp_path / "w"):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    ((status, said),) = together.finish([process])
    assert status == 75 and "the state is saved" in said


@pytest.mark.slow
@pytest.mark.parametrize("stdout", ["/dev/full", "closed", "read by nobody"])
def test_an_experiment_goes_on_where_nobody_reads(stdout, programs, tmp_path):
    arguments = command(programs, tmp_path / "w", "--config.epochs=1")
    line = [sys.executable, str(together.LAUNCH), *arguments]
    read, write = os.pipe()
    os.close(read)
    how = {"/dev/full": "> /dev/full", "closed": ">&-", "read by nobody": ">&3"}
    done = subprocess.run(
        ["bash", "-c", f'exec 3>&{write}; exec "$@" {how[stdout]}', "-", *line],
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[write],
        timeout=300,
    )
    os.close(write)
    assert done.returncode == 0, done.stderr
    (rows,) = together.rows(tmp_path / "w").values()
    assert len(rows) == 3
    said = ["aljax: standard output cannot be written (No space left on device)."]
    assert done.stderr.splitlines() == (said if stdout == "/dev/full" else [])
