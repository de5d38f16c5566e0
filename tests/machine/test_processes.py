"""Several processes form one run, which is that of one process with all devices."""

import contextlib
import dataclasses
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from aljax.grid import expand
from aljax.launch import command_line
from aljax.machine import processes
from aljax.machine.clock import CompileClock
from aljax.machine.devices import (
    AXIS,
    EVERYWHERE,
    SPLIT,
    choose_devices,
    connect,
    fetch,
    spmd,
)
from aljax.machine.preemption import Preemption
from aljax.models import MODELS
from aljax.models.resnet import BasicBlock, ResNet
from aljax.runs import plan as plans
from aljax.runs.console import Console
from aljax.runs.experiment import run_trial
from aljax.runs.folder import RunFolder
from aljax.runs.session import Session
from aljax.strategies import STRATEGIES
from tests.machine.test_devices import CONFIG
from tests.runs.test_interruption import command
from tests.support import together

LATE_SECONDS = 33  # devices that have not met wait 30 s for each other


def _join_and(f, port, count, index, *args):
    if count == 1:
        return f(*args)
    processes.join(f"localhost:{port}", count, index)
    try:
        return f(*args)
    finally:
        jax.distributed.shutdown()  # together, for pools end one after the other


def together_do(f, count, devices, *args):
    """What `f(*args)` returns in each of `count` processes that have joined."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    flags += [f"--xla_force_host_platform_device_count={devices}"]
    flags += ["--xla_backend_optimization_level=0"]
    (port,) = together.free_ports(1)
    context = multiprocessing.get_context("spawn")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("XLA_FLAGS", " ".join(flags))
        patch.setenv("JAX_PLATFORMS", "cpu")
        pools = [ProcessPoolExecutor(1, mp_context=context) for _ in range(count)]
        calls = [
            stack.enter_context(pool).submit(_join_and, f, port, count, i, *args)
            for i, pool in enumerate(pools)
        ]
        return [call.result(timeout=300) for call in calls]


def experiment(dataset, workdir):
    """Runs a tiny experiment on all devices; returns its last state."""
    MODELS["tiny"] = partial(ResNet, BasicBlock, (1,))
    STRATEGIES["recorded"] = STRATEGIES["learning_loss"]
    ((run,),) = expand(CONFIG)
    devices = choose_devices()
    assert devices.size == 4
    console, preemption = Console(), Preemption()
    session = Session(dataset, devices, CompileClock(), console, preemption)
    return jax.device_get(run_trial(session, run, RunFolder(workdir / run.folder)))


@pytest.fixture(scope="module")
def found(tiny_dataset, tmp_path_factory):
    """By number of processes: what each ended with, and the rows that were written."""
    result = {}
    for count in (1, 2):
        workdir = tmp_path_factory.mktemp(f"processes{count}")
        states = together_do(experiment, count, 4 // count, tiny_dataset, workdir)
        ((run,),) = expand(CONFIG)
        result[count] = states, RunFolder(workdir / run.folder).rows()
    return result


@pytest.fixture(autouse=True, scope="module")
def recorded():
    """The strategy of CONFIG."""
    STRATEGIES["recorded"] = STRATEGIES["learning_loss"]
    yield
    del STRATEGIES["recorded"]


@pytest.mark.slow
def test_two_processes_do_as_one_with_all_devices(found):
    """The images are those that tests/machine/test_devices.py finds to have no ties."""
    _, one = found[1]
    _, two = found[2]
    assert len(one) == CONFIG.cycles
    assert [row["queried"] for row in two] == [row["queried"] for row in one]
    for a, b in zip(one, two, strict=True):
        assert a["test_loss"] == pytest.approx(b["test_loss"], rel=1e-5)
        assert a["confusion"] == b["confusion"]


@pytest.mark.slow
def test_every_process_ends_with_the_same_state(found):
    (first, second), _ = found[2]
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.slow
def test_only_the_first_cycle_of_two_processes_compiles(found):
    _, rows = found[2]
    assert [row["compile_seconds"] > 0 for row in rows] == [True, False, False]


def come_late():
    """Uses all devices; the second process does so long after the first."""
    devices = choose_devices()
    connect(devices)
    if jax.process_index() == 1:
        time.sleep(LATE_SECONDS)
    program = spmd(
        lambda x: jax.lax.psum(x, AXIS),
        devices,
        (SPLIT,),
        EVERYWHERE,
    )
    return np.asarray(program(np.arange(4.0))).item()


def agreement():
    """What this process makes of what all of them have and of what the first reads."""
    mine = processes.largest(jax.process_index(), -jax.process_index(), 0.5)
    large = processes.by_first(lambda: (jax.process_index(), b"x" * 10_000_000))

    def fail():
        raise ValueError(f"read by {jax.process_index()}")

    try:
        processes.by_first(fail)
    except ValueError as error:
        said = str(error), processes.told_by_first(error)
    fetched = fetch(shared_out(np.arange(8.0)))
    return mine, large, said, fetched


def shared_out(x):
    devices = choose_devices()
    program = spmd(lambda x: x * 2, devices, (SPLIT,), SPLIT)
    return program(x)


def refusals():
    said = []
    for flags in ((3,), (8,), (None, "pmap")):
        try:
            choose_devices(*flags)
        except ValueError as error:
            said.append(str(error))
    return [choose_devices(2).size, choose_devices().size], said


def other_images(dataset):
    """Reads images that are not those of the first process."""
    mine = dataset.train_images + np.uint8(jax.process_index())
    other = dataclasses.replace(dataset, train_images=mine)
    plans.load = lambda *what: other
    try:
        plans.Plan(CONFIG, [], Path("w")).read_images(CONFIG.data)
    except ValueError as error:
        return str(error)


def asked(dataset):
    """What a process answers to each question; the first is to meet the others."""
    return {
        "come_late": come_late(),
        "agreement": agreement(),
        "refusals": refusals(),
        "other_images": other_images(dataset),
    }


@pytest.fixture(scope="module")
def answers(tiny_dataset):
    """By question: what each of two processes answers."""
    first, second = together_do(asked, 2, 2, tiny_dataset)
    return {question: (first[question], second[question]) for question in first}


@pytest.mark.slow
def test_one_may_compile_for_much_longer_than_the_other(answers):
    assert answers["come_late"] == (6, 6)


@pytest.mark.slow
def test_all_decide_alike(answers):
    for index, (mine, large, said, fetched) in enumerate(answers["agreement"]):
        assert mine == [1, 0, 0.5]
        assert large == (0, b"x" * 10_000_000)
        assert said == ("read by 0", index == 1)
        np.testing.assert_array_equal(fetched, 2 * np.arange(8.0))


@pytest.mark.slow
def test_each_process_gives_as_many_devices(answers):
    for sizes, said in answers["refusals"]:
        assert sizes == [2, 4]
        assert "--devices=3" in said[0] and "choose 2, 4" in said[0]
        assert "--devices=8" in said[1] and "choose 2, 4" in said[1]
        assert "--parallel=pmap" in said[2] and "shard_map" in said[2]


@pytest.mark.slow
def test_other_images_are_refused(answers):
    same, other = answers["other_images"]
    assert same is None
    assert "process 1 of 2 finds other images" in other


@pytest.mark.slow
@pytest.mark.parametrize("flag, first", [("--config.seed", 0), ("--devices", 2)])
def test_processes_with_other_flags_are_refused(flag, first, tmp_path):
    flags = command(tmp_path / "programs", tmp_path / "run")
    started = together.start(flags, 2, extra=lambda i: [f"{flag}={abs(first - i)}"])
    (status, said), (other, complaint) = together.finish(started, 60)
    assert (status, other) == (command_line.ERROR, command_line.USAGE), said
    assert "process 1 of 2 was given another experiment" in complaint
    assert not (tmp_path / "run").exists()
