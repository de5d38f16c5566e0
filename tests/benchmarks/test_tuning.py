"""What a search of settings says is best, and what it refuses to say."""

import csv
import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest

from aljax.report.runs import read
from tests.support import made_up_runs as made

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import tuning  # noqa: E402

# (network, optimizer, learning rate) -> accuracies by trial
SEARCH = {
    ("resnet18", "sgd", 0.3): (0.10, 0.12),
    ("resnet18", "sgd", 0.1): (0.40, 0.44),
    ("resnet18", "sgd", 0.03): (0.30, 0.31),
    ("resnet18", "adam", 0.001): (0.39, 0.35),
    ("resnet18", "adam", 1e-4): (0.50,),  # its second trial is not there
    ("resnet34", "sgd", 0.1): (0.20, 0.20),
    ("resnet34", "sgd", 0.03): (0.22, 0.24),
    ("resnet34", "adam", 0.003): (0.30, 0.32),
}


@pytest.fixture
def workdir(tmp_path):
    for (model, optimizer, rate), accuracies in SEARCH.items():
        field = f"optimizers.{optimizer}.learning_rate"
        config = {"validation": 500, "initial": 1500, "cycles": 1, field: rate}
        grid = made.Grid(
            lambda *cell, of=accuracies: [of[cell[3] - 1]],
            models=(model,), optimizers=(optimizer,), strategies=("random",),
            trials=len(accuracies), cycles=1, config=config,
        )  # fmt: skip
        made.write(tmp_path / f"{field}={rate}", grid)
        (tmp_path / f"{field}={rate}" / "config.json").unlink()
    return tmp_path


def test_every_value_and_the_best_of_each_pair(workdir, capsys):
    tuning.main(str(workdir), str(workdir / "tuning.csv"))
    printed = capsys.readouterr().out
    with (workdir / "tuning.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [
        [line["network"], line["optimizer"], line["settings"]] for line in found
    ] == [
        ["ResNet18", "SGD", "learning rate 0.03"],
        ["ResNet18", "SGD", "learning rate 0.1"],
        ["ResNet18", "SGD", "learning rate 0.3"],
        ["ResNet18", "Adam", "learning rate 0.0001"],
        ["ResNet18", "Adam", "learning rate 0.001"],
        ["ResNet34", "SGD", "learning rate 0.03"],
        ["ResNet34", "SGD", "learning rate 0.1"],
        ["ResNet34", "Adam", "learning rate 0.003"],
    ]
    assert found[1] | {"sd": ""} == {
        **{"network": "ResNet18", "optimizer": "SGD", "settings": "learning rate 0.1"},
        **{"accuracy": "42.00", "sd": "", "trials": "2", "note": "best"},
    }
    assert [line["note"].split(";")[0] for line in found] == [
        *("", "best", "", "", "best", "best", "", "best")
    ]
    assert [tuning.EDGE in line["note"] for line in found] == [
        *(False, False, False, False, True, True, False, True)
    ]
    assert [line["sd"] for line in found] == [
        *("0.71", "2.83", "1.41", "", "2.83", "1.41", "0.00", "1.41")
    ]
    assert "| **ResNet18** | **SGD** | **learning rate 0.1** | **42.00** |" in printed
    assert printed.count("**best") == 4
    assert "held out in each trial" in printed and "accuracy of 50 %" in printed


def test_values_that_failed_are_listed(workdir):
    folder = workdir / "optimizers.sgd.learning_rate=0.3/resnet18/sgd/random"
    for trial in (1, 2):
        (folder / f"trial_{trial}" / "cycles.jsonl").unlink()
        failure = {"reason": "the loss is not a finite number.", "time": "2026-01-01"}
        (folder / f"trial_{trial}" / "failed.json").write_text(json.dumps(failure))
    found = list(tuning.lines(read([workdir])))
    (line,) = [line for line in found if line["settings"] == "learning rate 0.3"]
    assert line["accuracy"] == "" and line["trials"] == 0
    assert line["note"].startswith("trial 1 failed the loss is not a finite number.")


def test_runs_of_the_test_set_are_refused(workdir):
    tested = dataclasses.replace(made.LARGE, trials=1, strategies=("random",))
    other = made.write(workdir / "other", tested)
    shutil.copytree(other / "resnet18", workdir / "resnet18")
    with pytest.raises(ValueError, match="on the test set, by which no setting may be"):
        list(tuning.lines(read([workdir])))
