"""The run folder: rows whole and once, and other experiments kept out."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from aljax.config import Config, Data, flatten, replace
from aljax.grid import expand, shard
from aljax.runs import results
from aljax.runs.folder import ROW_FIELDS, RunFolder, read_json, write_json
from aljax.runs.provenance import PACKAGES, provenance
from aljax.runs.results import write_results
from tests.support.tiny import IMAGES

OTHERS = dataclasses.replace(IMAGES, classes=("dog", "cat"))
CONFIG = Config(trials=2, cycles=3, strategy="random", optimizer="adam")


def row(cycle: int, accuracy: float = 0.5) -> dict:
    fields = dict.fromkeys(ROW_FIELDS)
    return fields | {"cycle": cycle, "labeled": 7 * cycle, "test_accuracy": accuracy}


def open_runs(workdir, config=CONFIG) -> list:
    runs = [run for group in expand(config) for run in group]
    for run in runs:
        RunFolder(workdir / run.folder).create(run, IMAGES)
    return runs


def test_rows_come_back_in_order(tmp_path):
    run, other = open_runs(tmp_path)
    folder = RunFolder(tmp_path / run.folder)
    assert folder.rows() == []
    folder.append(row(1))
    folder.append(dict(reversed(row(2).items())))
    assert folder.rows() == [row(1), row(2)]
    assert RunFolder(tmp_path / other.folder).rows() == []
    path = tmp_path / "resnet18/adam/random/trial_1/cycles.jsonl"
    lines = path.read_text().splitlines()
    assert [list(json.loads(line)) for line in lines] == [list(ROW_FIELDS)] * 2


def test_row_fields_are_the_documented_ones():
    documented = """
        trial cycle labeled test_accuracy test_loss f1_macro class_accuracy confusion
        calibration_error reliability label_efficiency loss_ranking_accuracy
        train_seconds evaluate_seconds query_seconds compile_seconds
        train_images_per_second score_images_per_second
        peak_device_bytes peak_host_bytes queried queried_labels queried_predictions
        queried_scores evaluated_on leaky"""
    assert list(ROW_FIELDS) == documented.split()


def test_row_with_other_fields_is_a_bug(tmp_path):
    folder = RunFolder(tmp_path / open_runs(tmp_path)[0].folder)
    with pytest.raises(AssertionError, match="extra"):
        folder.append(row(1) | {"extra": 0})
    assert folder.rows() == []


@pytest.mark.parametrize("torn", ["{", '{"trial": 1, "cyc', json.dumps(row(3))])
def test_row_cut_by_a_crash_is_dropped(tmp_path, torn):
    run = open_runs(tmp_path)[0]
    folder = RunFolder(tmp_path / run.folder)
    folder.append(row(1))
    folder.append(row(2))
    path = folder.path / "cycles.jsonl"
    with path.open("a") as file:
        file.write(torn)
    assert folder.rows() == [row(1), row(2)]
    folder.create(run, IMAGES)
    folder.append(row(3))
    assert folder.rows() == [row(1), row(2), row(3)]
    path.write_text(torn)
    folder.create(run, IMAGES)
    assert folder.rows() == [] and path.read_text() == torn  # until it is known why
    folder.append(row(1))
    assert folder.rows() == [row(1)]


def test_config_of_a_run(tmp_path):
    config = replace(CONFIG, "reset", "never")
    run = open_runs(tmp_path, config)[1]
    folder = RunFolder(tmp_path / run.folder)
    written = read_json(folder.path / "config.json")
    assert written["config"] == json.loads(json.dumps(flatten(run.config)))
    assert written["trial"] == 2 and written["leaky"] is True
    assert written["data_fingerprint"] == IMAGES.fingerprint
    assert set(PACKAGES) | {"aljax", "python"} == written["versions"].keys()
    assert {"commit", "device"} <= written.keys()
    assert folder.checkpoints == folder.path / "checkpoints"


@pytest.mark.parametrize(("strategy", "dropout"), [("bald", 0.4), ("entropy", 0)])
def test_config_of_a_run_says_whether_its_network_has_dropout(
    tmp_path, strategy, dropout
):
    config = replace(replace(CONFIG, "strategy", strategy), "query.dropout", 0.4)
    run = open_runs(tmp_path, config)[0]
    assert RunFolder(tmp_path / run.folder).about()["dropout"] == dropout


def test_config_of_a_run_is_written_once(tmp_path):
    run = open_runs(tmp_path)[0]
    path = RunFolder(tmp_path / run.folder).path / "config.json"
    before = path.read_text()
    RunFolder(tmp_path / run.folder).create(run, IMAGES)
    assert path.read_text() == before
    with pytest.raises(ValueError, match="holds another run"):
        RunFolder(tmp_path / run.folder).create(run, OTHERS)
    assert path.read_text() == before


def test_a_run_that_goes_on_elsewhere_says_so(tmp_path, monkeypatch):
    run = open_runs(tmp_path)[0]
    folder = RunFolder(tmp_path / run.folder)
    begun = folder.about()
    assert folder.create(run, IMAGES) == ""
    folder.append(row(1))
    told = provenance() | {"device": "1 x another"}
    monkeypatch.setattr("aljax.runs.folder.provenance", lambda devices: told)
    changed = folder.create(run, IMAGES)
    assert changed == f"device 1 x another instead of {begun['device']}"
    assert folder.create(run, IMAGES) == ""  # told once
    (later,) = folder.about()["later"]
    assert later["from_cycle"] == 2 and later["device"] == "1 x another"
    assert {**folder.about(), "later": None} == {**begun, "later": None}


def test_write_json_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    assert read_json(path) is None
    write_json(path, {"a": [1, None]})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path) == {"a": [1, None]}
    assert os.listdir(tmp_path) == ["a.json"]
    assert read_json(path / "a.json") is None


def test_a_file_that_goes_while_it_is_looked_at_is_none(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", {})

    def gone(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", gone)
    assert read_json(tmp_path / "a.json") is None


def test_results(tmp_path):
    first, second = open_runs(tmp_path)
    for cycle in (1, 2, 3):
        RunFolder(tmp_path / first.folder).append(row(cycle, cycle / 10))
    RunFolder(tmp_path / second.folder).append(row(1, 0.123))
    write_results(tmp_path)
    assert read_json(tmp_path / "results.json") == {
        "strategies": {
            "random": {
                "adam": {
                    "resnet18": {
                        "label": "ResNet18 + Adam",
                        "labeled_sizes": [[7, 14, 21], [7]],
                        "accuracies": [[10.0, 20.0, 30.0], [12.3]],
                    }
                }
            }
        }
    }


def test_results_of_a_grid(tmp_path):
    config = Config(
        trials=1,
        reset="never",
        sweep={"width": (8, 16), "optimizer": ("sgd", "adam")},
    )
    runs = open_runs(tmp_path, config)
    for i, run in enumerate(runs[:3]):
        RunFolder(tmp_path / run.folder).append(row(1, i / 10))
    paths = sorted(write_results(tmp_path), reverse=True)
    assert paths == [tmp_path / f"width={w}" / "results.json" for w in (8, 16)]
    narrow, wide = map(read_json, paths)
    narrow, wide = narrow["strategies"], wide["strategies"]
    assert narrow["learning_loss"].keys() == {"sgd", "adam"}
    assert wide["learning_loss"].keys() == {"sgd"}
    entry = wide["learning_loss"]["sgd"]["resnet18"]
    assert entry["accuracies"] == [[20.0]]
    assert entry["label"] == "ResNet18 + SGD (leaky)"
    assert not (tmp_path / "results.json").exists()


def test_results_of_one_shard_keep_those_of_the_others(tmp_path):
    config = Config(trials=1, sweep={"strategy": ("random", "entropy")})
    for run in open_runs(tmp_path, config):
        RunFolder(tmp_path / run.folder).append(row(1))
    for part in ("1/2", "2/2"):
        ((run,),) = shard(expand(config), part)
        write_results(tmp_path)
    strategies = read_json(tmp_path / "results.json")["strategies"]
    assert strategies.keys() == {"random", "entropy"}


def test_results_of_a_run_that_ends_while_they_are_written(tmp_path, monkeypatch):
    config = Config(trials=2, cycles=1)
    first, second = (
        RunFolder(tmp_path / r.folder) for r in open_runs(tmp_path, config)
    )
    first.append(row(1, 0.5))
    written = []

    def write_late(path, content):
        if not written:
            second.append(row(1, 0.25))
        written.append(path)
        write_json(path, content)

    monkeypatch.setattr(results, "write_json", write_late)
    write_results(tmp_path)
    assert len(written) == 2
    table = read_json(tmp_path / "results.json")["strategies"]["learning_loss"]["sgd"]
    assert table["resnet18"]["accuracies"] == [[50.0], [25.0]]


def test_run_on_other_images_or_settings_is_refused(tmp_path):
    run = open_runs(tmp_path)[0]
    folder = RunFolder(tmp_path / run.folder)
    folder.refuse_other(run, IMAGES.fingerprint)
    RunFolder(tmp_path / "nothing").refuse_other(run, "def")
    with pytest.raises(
        ValueError, match=rf"images \({IMAGES.fingerprint[:12]}… there, others here\)"
    ):
        folder.refuse_other(run, "def")
    other = expand(replace(CONFIG, "data", Data("cifar10")))[0][0]
    with pytest.raises(ValueError, match="data.name .* there, cifar10 here"):
        folder.refuse_other(other, IMAGES.fingerprint)


def test_a_package_that_is_missing_has_no_version(monkeypatch):
    monkeypatch.setattr("aljax.runs.provenance.PACKAGES", ("numpy", "no-such-package"))
    versions = provenance()["versions"]
    assert versions["numpy"] == np.__version__
    assert versions["no-such-package"] is None
