"""An experiment is the same on 1, 2, 4 and 8 devices, whatever maps over them."""

import contextlib
import dataclasses
import io
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding

from aljax.config import LossPrediction, Schedule, replace
from aljax.grid import expand
from aljax.launch import command_line
from aljax.machine.clock import CompileClock
from aljax.machine.devices import (
    AXIS,
    EVERYWHERE,
    EXECUTORS,
    SPLIT,
    choose_devices,
    spmd,
)
from aljax.machine.preemption import Preemption
from aljax.models import MODELS
from aljax.models.resnet import BasicBlock, ResNet
from aljax.runs.console import Console
from aljax.runs.experiment import run_group
from aljax.runs.folder import RunFolder, read_json
from aljax.runs.session import Session
from aljax.strategies import STRATEGIES, Strategy, highest
from aljax.training import _mean_of_seen
from tests.support import tiny

pytestmark = pytest.mark.slow
COUNTS = (1, 2, 4, 8)
# Both executors map the same programs; a few show that they do.
COMBINATIONS = [("shard_map", n) for n in COUNTS] + [("pmap", 1), ("pmap", 4)]
# The second batch of the first cycle has 5 images: 3 of 8 devices get none.
CONFIG = dataclasses.replace(
    tiny.CONFIG,
    strategy="recorded",
    width=8,
    epochs=2,
    checkpoint_seconds=60.0,
    schedule=Schedule(milestones=(1,)),
    loss_prediction=LossPrediction(detach_epoch=1),
)
CONFIG = replace(CONFIG, "optimizers.sgd.learning_rate", 0.02)


@pytest.fixture(scope="module")
def in_child():
    """Runs functions in one process of eight virtual devices, compiled in haste."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    flags += ["--xla_force_host_platform_device_count=8"]
    flags += ["--xla_backend_optimization_level=0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", " ".join(flags))
        patch.setenv("JAX_PLATFORMS", "cpu")
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            yield lambda *call: pool.submit(*call).result(timeout=600)


def experiments(dataset, workdir):
    """Combination -> rows of its run, and what the strategy was shown in each cycle."""
    MODELS["tiny"] = partial(ResNet, BasicBlock, (1,))
    shown = []

    def select(query):
        shown.append(query.candidates.predicted_loss)
        return highest(shown[-1], query.budget, query.random)

    STRATEGIES["recorded"] = Strategy(select, frozenset({"predicted_loss"}))
    ((run,),) = expand(CONFIG)
    found = {}
    for executor, count in COMBINATIONS:
        devices = choose_devices(count, executor)
        assert devices.size == count
        session = Session(dataset, devices, CompileClock(), Console(), Preemption())
        shown.clear()
        folder = workdir / f"{executor}-{count}"
        run_group(session, [run], folder)
        written = RunFolder(folder / run.folder)
        about = read_json(written.path / "config.json")
        found[executor, count] = written.rows(), list(shown), about
    return found


@pytest.fixture(scope="module")
def found(in_child, tiny_dataset, tmp_path_factory):
    return in_child(experiments, tiny_dataset, tmp_path_factory.mktemp("parallel"))


def others(found):
    """The rows and scores of one device, and of each other combination."""
    first, *rest = COMBINATIONS
    return found[first][:2], [found[combination][:2] for combination in rest]


def test_the_same_images_are_bought(found):
    """Rounding must not decide: neighbouring scores differ by more than it can do."""
    (rows, shown), rest = others(found)
    assert len(shown) == 2 and len(rows) == 3
    for cycle, scores in enumerate(shown):
        ranked = np.sort(scores)[::-1][: CONFIG.budget + 1]
        rounding = max(abs(other[cycle] - scores).max() for _, other in rest)
        assert -np.diff(ranked).max() > 2 * rounding, "a tie: choose another seed"
    bought = [row["queried"] for row in rows]
    for other, _ in rest:
        assert [row["queried"] for row in other] == bought


def test_the_losses_are_the_same(found):
    (rows, _), rest = others(found)
    for other, _ in rest:
        for a, b in zip(rows, other, strict=True):
            assert a["test_loss"] == pytest.approx(b["test_loss"], rel=1e-5)
            assert a["test_accuracy"] == b["test_accuracy"]
            assert a["confusion"] == b["confusion"]


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_only_the_first_cycle_compiles(found, combination):
    rows, *_ = found[combination]
    assert [row["compile_seconds"] > 0 for row in rows] == [True, False, False]


@pytest.mark.parametrize("executor, count", COMBINATIONS)
def test_what_it_ran_on_is_written_down(found, executor, count):
    about = found[executor, count][2]
    assert about["device"].startswith(f"{count} x cpu")
    assert about["parallel"] == executor


def mapped_by(executor):
    """What a function sees of SPLIT and EVERYWHERE on four devices, and gives back."""
    devices = choose_devices(4, executor)

    def f(shared, split):
        x = split["x"]
        assert x.shape == (3, 2) and shared.shape == (8,)
        total = jax.lax.psum(x.sum() + shared.sum(), AXIS)
        return {"rank": x + jax.lax.axis_index(AXIS)}, total

    specs = (EVERYWHERE, SPLIT), (SPLIT, EVERYWHERE)
    program = spmd(f, devices, *specs, donate=(1,))
    x = jax.device_put(np.ones((12, 2)), NamedSharding(devices.mesh, SPLIT))
    results, total = program(np.arange(8.0), {"x": x})
    return np.asarray(results["rank"]), float(total), x.is_deleted()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_a_function_is_given_and_gives(in_child, executor):
    ranks, total, donated = in_child(mapped_by, executor)
    np.testing.assert_array_equal(ranks[:, 0], 1 + np.repeat(np.arange(4), 3))
    assert total == 24 + 4 * 28
    assert donated


def averaged(counts):
    """A statistic of each device, averaged over those that have so many real rows."""
    devices = choose_devices(len(counts))
    program = spmd(
        lambda x, mask: _mean_of_seen({"mean": x[0]}, mask)["mean"],
        *(devices, (SPLIT, SPLIT), EVERYWHERE),
    )
    mask = (np.arange(4) < np.array(counts)[:, None]).astype(np.float32)
    place = NamedSharding(devices.mesh, SPLIT)
    statistics = 2.0 ** np.arange(len(counts), dtype=np.float32)
    return float(program(*jax.device_put((statistics, mask.reshape(-1)), place)))


def test_devices_without_an_image_say_nothing_of_statistics(in_child):
    assert in_child(averaged, (4, 4, 4, 4)) == 15 / 4
    assert in_child(averaged, (4, 1, 0, 0)) == 3 / 2


def refusal(folder, *arguments):
    """What launch.py says on eight devices, and what it leaves in an empty folder."""
    os.chdir(folder)
    sys.argv = ["launch.py", "--compile_cache_dir=", *arguments]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        status = command_line.main()
    return status, said.getvalue(), list(Path(folder).iterdir())


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--config.batch_size=12"], ["config.batch_size: 12", "8 devices", "8 or 16"]),
        (
            ["--config.score_batch_size=9", "--devices=2"],
            ["config.score_batch_size: 9", "2 devices", "8 or 10"],
        ),
        # The other members of a grid and the other shards count too.
        (
            ["--config.sweep={'batch_size': (64, 4)}", "--shard=1/2"],
            ["config.batch_size: 4", "8 devices", "choose 8"],
        ),
    ],
    ids=["batch", "score batch", "grid"],
)
def test_batches_that_cannot_be_shared_are_refused_at_once(
    in_child, arguments, words, tmp_path
):
    # No images either: that is found out later.
    nowhere = ["--config.data.name=image_folder", "--config.data.path=nowhere.zip"]
    status, said, left = in_child(refusal, tmp_path, *arguments, *nowhere)
    assert status == 2 and left == []
    (line,) = said.strip().splitlines()
    for word in words:
        assert word in line


def test_an_unknown_executor():
    with pytest.raises(ValueError, match="--parallel: unknown value 'pmp'.*'pmap'"):
        choose_devices(1, "pmp")
