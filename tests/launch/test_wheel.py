"""The wheel alone, in an empty folder: command, recipes, and no false commit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="hatchling builds the wheel")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what the wheel installs, inside somebody's repository."""
    somewhere = tmp_path_factory.mktemp("repository")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d"]
    subprocess.run([*build, str(somewhere)], cwd=ROOT, check=True)
    (wheel,) = somewhere.glob("aljax-*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    target = somewhere / "packages"
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True)
    wheel.unlink()
    commit = "git init -q . && git add -A && git -c user.name=a -c user.email=a@b "
    commit += "commit -q -m theirs"
    subprocess.run(commit, shell=True, cwd=somewhere, check=True)
    return target


def call(installed, folder, *arguments, program=("-m", "aljax")):
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_help_lists_the_recipes(installed, tmp_path):
    script = str(installed / "bin" / "aljax")
    done = call(installed, tmp_path, "--help", program=(script,))
    assert done.returncode == 0, done.stderr
    for path in (ROOT / "configs").glob("*.py"):
        assert f"  {path.stem} " in done.stdout


def test_recipes_by_name_from_any_folder(installed, tmp_path):
    done = call(installed, tmp_path, "--config=cifar10_report", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "runs/cifar10_report/resnet18/sgd/learning_loss/trial_5" in done.stdout
    done = call(installed, tmp_path, "--config=cifar10_reprot")
    assert done.returncode == 2
    assert "did you mean cifar10_report?" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_run_records_no_commit_of_somebody_else(installed, tmp_path):
    small = ["width=4", "epochs=1", "cycles=1", "initial=16", "sweep={}"]
    done = call(installed, installed, *[f"--config.{field}" for field in small],
                f"--workdir={tmp_path}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "config.json").read_text())["commit"] is None
