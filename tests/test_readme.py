"""What README.md says is what there is."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from aljax.data import DATASETS
from aljax.models import MODELS
from aljax.optimizers import OPTIMIZERS
from aljax.runs.folder import ROW_FIELDS
from aljax.strategies import STRATEGIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def listed(kind):
    (line,) = re.findall(rf"^- {kind}: (.*)$", README, re.MULTILINE)
    return re.findall(r"`([a-z0-9_]+)`", line.split(", of any")[0])


@pytest.mark.parametrize(
    "kind, table",
    [
        ("models", MODELS),
        ("optimizers", OPTIMIZERS),
        ("strategies", STRATEGIES),
        ("datasets", DATASETS),
    ],
)
def test_lists_every_name(kind, table):
    assert listed(kind) == list(table)


def test_names_every_recipe_and_every_row_field():
    recipes = {f"configs/{path.name}" for path in (ROOT / "configs").glob("*.py")}
    assert set(re.findall(r"^\| `(configs/\w+\.py)`", README, re.MULTILINE)) == recipes
    measured = README.split("## What is measured")[1].split("## ")[0]
    assert set(re.findall(r"`(\w+)`", measured)) >= set(ROW_FIELDS)


def test_maps_every_module():
    modules = {p.name for p in (ROOT / "aljax").glob("*.py")} - {"__init__.py"}
    file_map = README.split("## File map")[1]
    assert modules <= set(re.findall(r"\w+\.py", file_map))


def test_shard_line_and_links_to_files_are_true():
    for path in re.findall(r"`((?:aljax|configs|tests|benchmarks)/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path


@pytest.mark.slow
def test_quickstart(tmp_path):
    (line,) = re.findall(r"^python3 -m venv .*launch\.py$", README, re.MULTILINE)
    assert line.endswith("&& .venv/bin/python launch.py")
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Trial 1/1 || Cycle 3/3 || Labelled Data 600: Test Accuracy" in done.stdout
    runs = tmp_path / "runs" / "quickstart" / "resnet18" / "sgd"
    for strategy in ("random", "learning_loss"):
        rows = (runs / strategy / "trial_1" / "cycles.jsonl").read_text()
        assert len(rows.splitlines()) == 3
