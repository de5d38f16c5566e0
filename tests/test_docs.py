"""The files that docs/extending.md shows work as they stand."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aljax import load_config
from aljax.runs.plan import make_plan
from tests.support import documents, together
from tests.support.documents import ROOT

FILES = documents.files((ROOT / "docs" / "extending.md").read_text())
TINY = (
    *("--config.width=4", "--config.epochs=1", "--config.batch_size=16"),
    *("--config.cycles=2", "--config.initial=20", "--config.budget=10"),
    "--config.pool_subset=50",
)
BOTH = ("random", "learning_loss")  # of the quickstart


@pytest.fixture
def carry_out(tmp_path, monkeypatch, programs):
    """(file, flags…) -> rows of each run; the file lies in the folder of the call."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(name, *given, model="tiny", workdir="runs", disturb=None, **options):
        (tmp_path / name).write_text(FILES[name])
        # `tiny` stands for ResNets, which compile for longer than a test may take.
        program = (str(together.LAUNCH),) if model == "tiny" else ("-m", "aljax")
        flags = [f"--config={name}", f"--config.model={model}", *TINY, *given]
        flags += [f"--compile_cache_dir={programs}", f"--workdir={workdir}"]
        if name != "arrays.py":  # whose page shows images
            flags.append("--noreport")
        if disturb:
            disturb(together.start(flags, program=program, **options))
        ((status, said),) = together.finish(
            together.start(flags, program=program, **options)
        )
        assert status == 0, said
        return together.rows(tmp_path / workdir)

    return run


def labels(rows: dict[str, list[dict]]) -> dict[str, list[int]]:
    return {run: [row["labeled"] for row in found] for run, found in rows.items()}


def test_there_is_a_file_for_each():
    assert list(FILES) == [
        *("farthest_first.py", "small.py", "lion.py", "arrays.py", "widths.py")
    ]


def killed_between_cycles(run: Path) -> Callable:
    """Ends processes as a lost node does, once a run has its first row."""

    rows = run / "cycles.jsonl"

    def kill(started):
        deadline = time.monotonic() + 120
        while not rows.exists() or not rows.stat().st_size:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for process in started:
            os.killpg(process.pid, signal.SIGKILL)
        together.finish(started)
        assert len(rows.read_text().splitlines()) == 1

    return kill


@pytest.mark.slow
def test_strategy(carry_out, tmp_path):
    """Side by side, interrupted, and on two devices it buys the same images."""
    run = "tiny/sgd/farthest_first/trial_1"
    rows = carry_out("farthest_first.py", "--runs_per_node=2")
    assert labels(rows) == {"tiny/sgd/random/trial_1": [20, 30], run: [20, 30]}
    first, random = rows["tiny/sgd/random/trial_1"]
    also_first, farthest = rows[run]
    assert first["queried"] == also_first["queried"]
    assert random["queried"] != farthest["queried"]
    assert len(set(farthest["queried"]) - set(first["queried"])) == 10
    assert random["queried_scores"] is farthest["queried_scores"] is None

    rough = tmp_path / "rough"
    kill = killed_between_cycles(rough / run)
    again = carry_out(
        "farthest_first.py", "--runs_per_node=2", workdir=rough, disturb=kill
    )
    assert again == rows
    on_two = carry_out("farthest_first.py", workdir=tmp_path / "two", devices=2)
    assert [row["queried"] for row in on_two[run]] == [
        row["queried"] for row in rows[run]
    ]


@pytest.mark.slow
def test_network(carry_out):
    rows = carry_out("small.py", model="small")
    runs = [f"small/sgd/{strategy}/trial_1" for strategy in BOTH]
    assert labels(rows) == dict.fromkeys(runs, [20, 30])


@pytest.mark.slow
def test_optimizer(carry_out):
    rate = "--config.optimizers.lion.learning_rate=3e-4"
    rows = carry_out("lion.py", rate)
    runs = [f"tiny/lion/{strategy}/trial_1" for strategy in BOTH]
    assert labels(rows) == dict.fromkeys(runs, [20, 30])


@pytest.mark.slow
def test_dataset(carry_out, tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (90, 20, 24, 3), np.uint8)
    classes = np.arange(90) % 3
    np.savez(
        tmp_path / "images.npz",
        train_images=images[:80],
        train_labels=classes[:80],
        test_images=images[80:],
        test_labels=classes[80:],
    )
    rows = carry_out("arrays.py")
    runs = [f"tiny/sgd/{strategy}/trial_1" for strategy in BOTH]
    assert labels(rows) == dict.fromkeys(runs, [20, 30])
    for row in rows[runs[0]]:
        assert np.sum(row["confusion"], 1).tolist() == [3, 3, 4]  # 81 is of class 0
        assert row["queried_labels"] == [i % 3 for i in row["queried"]]
    page = tmp_path / "runs" / "report" / "index.html"  # with images that were bought
    assert "data:image/" in page.read_text()


def test_recipe(tmp_path):
    (tmp_path / "widths.py").write_text(FILES["widths.py"])
    config = load_config(tmp_path / "widths.py")
    plan = make_plan(config, "runs")
    assert len(plan.runs) == 3 * 2 * 5
    assert plan.runs[0].folder == "width=16/resnet18/sgd/random/trial_1"
    assert {run.config.epochs for run in plan.runs} == {50}
    assert {run.config.optimizers["sgd"].learning_rate for run in plan.runs} == {0.05}
