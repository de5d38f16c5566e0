"""Runs that go side by side end as those that go one after the other."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from aljax import side_by_side
from aljax.side_by_side import shares
from tests import together
from tests.test_experiment import results

CORES = os.sched_getaffinity(0)
ONE = {min(CORES)}
SWEEP = "--config.sweep={'strategy': ('random', 'entropy', 'margin')}"


@pytest.fixture
def machine(monkeypatch):
    """Makes this a machine with such cores and GPUs."""

    def make(cores, visible=None, devices=()):
        monkeypatch.setattr(os, "sched_getaffinity", lambda who: set(range(cores)))
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
    assert [s.gpus for s in shares(3)] == [("0",), ("2",), ("10",)]
    assert [s.cores for s in shares(3)] == [(0, 1)] * 3
    assert shares(1)[0].devices == 3


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
        (["--runs_per_node=0"], "--runs_per_node=0: this machine has"),
        (["--runs_per_node=2", "--coordinator=a:1"], "--coordinator=a:1 makes this"),
    ],
)
def test_flags_that_do_not_fit(flags, words, tmp_path):
    status, said = run(f"--workdir={tmp_path / 'run'}", *flags)
    assert status == 2 and words in said
    assert not (tmp_path / "run").exists()


def arguments(programs, workdir):
    return [
        *(f"--workdir={workdir}", f"--compile_cache_dir={programs}"),
        *("--config.width=4", "--config.epochs=8", "--config.cycles=2", SWEEP),
        *("--config.initial=64", "--config.budget=64", "--config.pool_subset=512"),
        *("--config.batch_size=16", "--config.checkpoint_seconds=0.5"),
    ]


def rows(workdir):
    return {
        str(path.relative_to(workdir)): results(
            [json.loads(line) for line in path.read_text().splitlines()]
        )
        for path in workdir.rglob("cycles.jsonl")
    }


@pytest.mark.slow
@pytest.mark.skipif(len(CORES) != 2, reason="made for two CPU cores")
def test_side_by_side_as_one_after_the_other(programs, tmp_path):
    apart, beside = tmp_path / "apart", tmp_path / "beside"
    # The number of cores changes rounding, and each will have one.
    alone = together.start(arguments(programs, apart), cores=ONE)
    assert together.finish(alone)[0][0] == 0
    flags = [*arguments(programs, beside), "--runs_per_node=2"]
    # Asked to stop, it stops both, and the same command goes on with both.
    (process,) = together.start(flags)
    deadline = time.monotonic() + 120
    while len({path.parents[1] for path in beside.rglob("checkpoints/*/meta")}) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    ((status, said),) = together.finish([process])
    assert status == 75, said
    status, said = run(*flags)
    assert status == 0, said
    assert len(rows(beside)) == 3
    assert rows(beside) == rows(apart)
    listed = json.loads((beside / "results.json").read_text())["strategies"]
    assert listed.keys() == {"random", "entropy", "margin"}


def test_what_fails_is_told(tmp_path, monkeypatch):
    """The other runs are carried out all the same."""
    from aljax.checkpoint import Preemption
    from aljax.config import Config
    from aljax.grid import expand

    script = tmp_path / "launch.py"
    script.write_text(
        "import sys\nopen(sys.argv[-1].replace('/', ''), 'w')\n"
        "sys.exit(7 if 'trial_2' in sys.argv[-1] else 0)"
    )
    monkeypatch.chdir(tmp_path)
    groups = expand(Config(trials=3))
    failures = side_by_side.carry_out(groups, shares(1), [str(script)], Preemption())
    assert failures == [f"{groups[1][0].folder}: its process ended with 7."]
    assert len(list(tmp_path.glob("--only=*"))) == 3
