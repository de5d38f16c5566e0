"""Runs go side by side, each on its share of the machine."""

import json
import os
import signal
import subprocess
import threading
import time
from ast import literal_eval
from pathlib import Path
from types import SimpleNamespace

import pytest

from aljax.config import Config
from aljax.grid import expand
from aljax.launch import command_line, side_by_side
from aljax.launch.side_by_side import shares
from aljax.machine.preemption import Preempted, Preemption
from tests.runs.test_interruption import command
from tests.support import together

CORES = os.sched_getaffinity(0)
TWO_CORES = pytest.mark.skipif(len(CORES) != 2, reason="made for two CPU cores")


@pytest.fixture
def machine(monkeypatch):
    """Makes this a machine with such cores and GPUs."""

    def make(cores, visible=None, devices=(), cuda=True, platforms=""):
        monkeypatch.setattr(os, "sched_getaffinity", lambda who: set(range(cores)))
        monkeypatch.setattr(side_by_side, "find_spec", lambda name: cuda)
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        found = [Path("/dev") / name for name in devices]
        monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(found))

    return make


def test_cores_are_shared(machine):
    machine(5)
    assert [s.cores for s in shares(2)] == [(0, 1), (2, 3)]
    assert [s.gpus for s in shares(2)] == [(), ()]
    assert [s.devices for s in shares(2)] == [1, 1]


def test_gpus_are_shared_in_order(machine):
    names = ["nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "nvidia0"]
    machine(2, devices=names)
    found = shares(3)
    assert [s.gpus for s in found] == [("0",), ("1",), ("2",)]  # as CUDA counts them
    assert [s.cores for s in found] == [(0, 1)] * 3
    machine(2, devices=names)
    assert shares(1)[0].devices == 3


@pytest.mark.parametrize(
    "given",
    [
        {"cuda": False},
        {"platforms": "cpu"},
        {"visible": "-1"},
        {"visible": "NoDevFiles"},
    ],
)
def test_gpus_that_are_not_used_are_not_shared(machine, given):
    machine(4, **({"visible": "0,1"} | given))
    assert [s.gpus for s in shares(2)] == [(), ()]


def test_only_visible_gpus_are_shared(machine):
    machine(8, visible="GPU-a,GPU-b,3,4")
    first, second = shares(2)
    assert first.gpus == ("GPU-a", "GPU-b") and second.gpus == ("3", "4")
    assert second.environment()["CUDA_VISIBLE_DEVICES"] == "3,4"


@pytest.mark.parametrize(
    "count, visible, words",
    [
        (3, "0,1", "has 2 GPUs; choose 1 to 2"),
        (9, "", "has 8 CPU cores; choose 1 to 8"),
    ],
)
def test_more_runs_than_devices(machine, count, visible, words):
    machine(8, visible=visible)
    with pytest.raises(ValueError, match=f"--runs_per_node={count}: .*{words}"):
        shares(count)


def run(*flags):
    ((status, said),) = together.finish(together.start(flags))
    return status, said


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--runs_per_node=0", "--processes=1"], "--runs_per_node=0: this machine has"),
        (["--runs_per_node=2", "--coordinator=a:1"], "--coordinator=a:1 makes this"),
    ],
)
def test_flags_that_do_not_fit(flags, words, tmp_path):
    status, said = run(f"--workdir={tmp_path / 'run'}", *flags)
    assert status == 2 and words in said
    assert not (tmp_path / "run").exists()


# Notes its cores, and stops or ends as launch.py does.
STUB = """
import os, pathlib, signal, sys, time
name = sys.argv[-1].replace("/", "_")
def stop(*_):
    pathlib.Path(name + ".stopped").touch()
    sys.exit({stopped})
signal.signal(signal.SIGTERM, stop)
assert os.environ["ALJAX_PARENT"] == str(os.getppid())
cores = sorted(os.sched_getaffinity(0))
pathlib.Path(name + ".cores").write_text(repr((cores, sys.argv[1:])))
time.sleep({seconds})
sys.exit(7 if "trial_2" in name else 0)
"""


@pytest.fixture
def carry_out(tmp_path, monkeypatch):
    """Carries out three runs whose processes take some seconds."""
    monkeypatch.chdir(tmp_path)

    def call(count, seconds, asked, stopped=75):
        script = tmp_path / "launch.py"
        script.write_text(STUB.format(seconds=seconds, stopped=stopped))
        argv = [str(script), "--workdir=w", f"--runs_per_node={count}", "--dry_run"]
        groups = expand(Config(trials=3))
        return side_by_side.carry_out(groups, shares(count), argv, asked)

    return call


def test_what_fails_is_told_and_the_others_go_on(carry_out, tmp_path):
    (failure,) = carry_out(1, 0, Preemption())
    assert failure.endswith("trial_2: its process ended with 7.")
    assert len(list(tmp_path.glob("*.cores"))) == 3


@TWO_CORES
def test_each_has_its_own_cores_and_command(carry_out, tmp_path):
    assert len(carry_out(2, 0.5, Preemption())) == 1
    seen = [literal_eval(path.read_text()) for path in tmp_path.glob("*.cores")]
    assert {core for cores, _ in seen for core in cores} == CORES
    for cores, flags in seen:
        assert len(cores) == 1
        assert flags[:3] == ["--workdir=w", "--launcher=local", "--runs_per_node=1"]
        assert "--processes=1" in flags
    assert os.sched_getaffinity(0) == CORES


@pytest.fixture
def asked(tmp_path):
    """Asks to stop once two runs have begun."""
    asked = Preemption()

    def ask():
        while len(list(tmp_path.glob("*.cores"))) < 2:
            time.sleep(0.05)
        asked.requested = True

    threading.Thread(target=ask, daemon=True).start()
    return asked


@TWO_CORES
def test_asked_to_stop_it_stops_all_and_starts_no_more(carry_out, asked, tmp_path):
    with pytest.raises(Preempted):
        carry_out(2, 60, asked)
    assert len(list(tmp_path.glob("*.cores"))) == 2
    assert len(list(tmp_path.glob("*.stopped"))) == 2


def test_what_goes_wrong_beside_a_process_is_raised(carry_out, monkeypatch):
    def refuse(process, cores):
        raise OSError("no such core")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with pytest.raises(OSError, match="no such core"):
        carry_out(1, 0, Preemption())


@TWO_CORES
def test_what_could_not_save_its_state_is_told(carry_out, asked):
    failures = carry_out(2, 60, asked, stopped=1)
    assert len(failures) == 2
    assert all(text.endswith("its process ended with 1.") for text in failures)


@TWO_CORES
@pytest.mark.parametrize("status", [128 + signal.SIGUSR1, 128 + signal.SIGINT])
def test_what_was_stopped_before_it_listened_lost_nothing(carry_out, asked, status):
    with pytest.raises(Preempted):
        carry_out(2, 60, asked, stopped=status)


@TWO_CORES
@pytest.mark.parametrize("room", [0, 1])
def test_a_machine_without_room_for_all_processes(carry_out, room, monkeypatch):
    """What one share cannot start, others do; if none can, all is said."""
    start, started = subprocess.Popen, []

    def refuse(*args, **options):
        if any(process.poll() is None for process in started) or not room:
            raise BlockingIOError("Resource temporarily unavailable")
        started.append(start(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", refuse)
    failures = carry_out(2, 0.5, Preemption())
    assert len(failures) == (1 if room else 3)
    assert ("trial_2: its process ended with 7" in failures[0]) == bool(room)
    assert ("temporarily unavailable" in failures[0]) != bool(room)


def test_under_srun_each_needs_its_own_part(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    values = SimpleNamespace(runs_per_node=2, processes=None, coordinator=None)
    with pytest.raises(ValueError, match="2 processes were started .* --processes=1"):
        command_line._refuse_launcher(values)
    values.processes = 1
    command_line._refuse_launcher(values)


def test_a_system_that_does_not_bind_processes_to_cores(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert [share.cores for share in shares(2)] == [(0, 1), (2, 3)]


@pytest.mark.slow
@TWO_CORES
def test_a_grid_stopped_and_taken_up_is_the_same(programs, tmp_path):
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    flags = ["--runs_per_node=2", "--config.epochs=60", "--config.cycles=2"]
    flags.append("--config.sweep={'strategy': ('random', 'entropy', 'margin')}")
    status, said = run(*command(programs, calm, *flags))
    assert status == 0, said
    (process,) = together.start(command(programs, rough, *flags))
    deadline = time.monotonic() + 120
    while len({path.parents[2] for path in together.saves(rough)}) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    ((status, said),) = together.finish([process])
    assert status == 75, said
    assert len(list(rough.rglob("trial_1"))) == 2  # the third was not begun
    status, said = run(*command(programs, rough, *flags))
    assert status == 0, said
    assert len(together.rows(calm)) == 3
    assert together.rows(rough) == together.rows(calm)
    listed = json.loads((rough / "results.json").read_text())["strategies"]
    assert listed.keys() == {"random", "entropy", "margin"}
