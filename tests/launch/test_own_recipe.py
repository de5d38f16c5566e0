"""A person's own recipe file: what it registers works wherever its runs are started."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import together

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
# Registers a network, an optimizer and a strategy, and counts its executions.
RECIPE = """
from functools import partial
import numpy as np
import aljax
from aljax.models.resnet import BasicBlock, ResNet
from aljax.optimizers import Sgd

class Slow(Sgd):
    pass

def last(query):
    return np.arange(query.count - query.budget, query.count)

with open("executed", "a") as file:
    file.write("once\\n")
aljax.MODELS["mine"] = partial(ResNet, BasicBlock, (1,))
aljax.OPTIMIZERS["mine"] = Slow
aljax.STRATEGIES["mine"] = aljax.Strategy(last)

def get_config():
    config = aljax.load_config(
        "quickstart", model="mine", optimizer="mine", width=4, epochs=1, cycles=2,
        initial=20, budget=10, pool_subset=None, batch_size=16,
        sweep={"strategy": ("mine", "random")},
    )
    return config
"""
LAUNCH = str(ROOT / "launch.py")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check_rows(folder):
    rows = together.rows(folder / "runs/mine")
    assert rows.keys() == {f"mine/mine/{s}/trial_1" for s in ("mine", "random")}
    bought = rows["mine/mine/mine/trial_1"][1]["queried"]
    assert len(bought) == 10 and bought == list(range(bought[0], bought[0] + 10))


def call(*arguments):
    done = subprocess.run(
        [sys.executable, LAUNCH, "--config=mine.py", "--noreport", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_here_and_executed_once(folder, programs):
    call(f"--compile_cache_dir={programs}")
    check_rows(folder)
    assert (folder / "executed").read_text() == "once\n"


def test_side_by_side(folder, programs):
    call(f"--compile_cache_dir={programs}", "--runs_per_node=2")
    check_rows(folder)


def test_on_a_cluster(folder, programs, asked):
    done = call(f"--compile_cache_dir={programs}", "--launcher=slurm", "--dry_run")
    for task in ("1", "2"):
        job = f"SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID={task}"
        script = done.stdout.rsplit("\n", 2)[0]
        line = f"{job} bash -c {shlex.quote(script)}"
        subprocess.run(line, shell=True, check=True, timeout=300)
    check_rows(folder)
