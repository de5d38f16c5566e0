"""Reading runs: whole rows, true states, and a sentence for whatever is amiss."""

import dataclasses
import fcntl
import importlib
import json
import os
import shutil

import numpy as np
import pytest

import aljax.report
from aljax.config import Config
from aljax.data import Data
from aljax.grid import expand
from aljax.report import frame
from aljax.report.runs import read
from aljax.runs.plan import make_plan
from tests.support import made_up_runs as made

RUN = "resnet18/sgd/entropy/trial_1"


@pytest.fixture
def workdir(tmp_path):
    return made.write(tmp_path / "runs", made.LARGE)


def states(study) -> dict[str, str]:
    return {record.folder: record.state for record in study.runs}


def snapshot(folder) -> dict:
    files = (path for path in folder.rglob("*"))
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in files
    }


def test_clean_runs_are_read_whole_and_left_alone(workdir):
    before = snapshot(workdir)
    study = read([workdir])
    assert snapshot(workdir) == before
    assert study.warnings == () and study.planned == ()
    assert len(study.runs) == 10 and set(states(study).values()) == {"done"}
    record = study.runs[0]
    assert record.unit == (0, 1) and record.labelled[-1] == 10_000
    expected = made.LARGE.accuracies(*record.cell, 1)
    np.testing.assert_array_equal(record.accuracies, expected)
    row = record.rows[1]
    assert row["confusion"].shape == (10, 10) and row["confusion"].sum() == 1000
    assert row["queried"].dtype == np.int32 and len(row["queried"]) == 20
    assert len(row["reliability"]["images"]) == 15
    assert np.isnan(row["reliability"]["confidence"][0])


def test_rows_of_older_runs_say_what_was_not_recorded(tmp_path):
    old = made.Grid(made.LARGE.accuracies, trials=1, older=True)
    study = read([made.write(tmp_path, old)])
    assert study.warnings == ()
    row = study.runs[0].rows[0]
    assert row["calibration_error"] is None and row["reliability"] is None
    assert row["queried_labels"] is None and study.runs[0].dataset is None
    assert np.isnan(study.runs[0].values("calibration_error")).all()


def test_states(tmp_path):
    study = read([made.write(tmp_path, made.unfinished())])
    found = states(study)
    assert found["resnet18/sgd/entropy/trial_2"] == "failed"
    (failed,) = (record for record in study.runs if record.state == "failed")
    assert failed.note == "the loss is not a finite number in cycle 5, epoch 3."
    assert len(failed.rows) == 4 and not failed.done
    assert list(study.planned) == ["resnet18/sgd/entropy/trial_5"]


def test_run_that_a_process_holds_is_running(workdir):
    rows = (workdir / RUN / "cycles.jsonl").read_text().splitlines(keepends=True)
    torn = "".join(rows[:3]) + rows[3][:50]
    (workdir / RUN / "cycles.jsonl").write_text(torn)
    with (workdir / RUN / "lock.json").open("w+") as lock:
        about = {"host": "a", "process": 7, "started": "now"}
        lock.write(json.dumps(about) + "\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        study = read([workdir])
    (running,) = (record for record in study.runs if record.folder == RUN)
    assert running.state == "running" and "process 7 on a" in running.note
    assert len(running.rows) == 3 and study.warnings == ()


def test_run_that_waits(workdir):
    path = workdir / RUN / "cycles.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    study = read([workdir])
    assert states(study)[RUN] == "waiting" and study.warnings == ()


def change(path, line, **fields):
    lines = path.read_text().splitlines()
    row = json.loads(lines[line]) | fields
    lines[line] = json.dumps(row)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"test_accuracy": 1.5}, "has 1.5 as its test_accuracy"),
        ({"test_accuracy": None}, "has None as its test_accuracy"),
        ({"test_accuracy": True}, "has True as its test_accuracy"),
        ({"cycle": 7}, "is of trial 1, cycle 7"),
        ({"trial": 2}, "is of trial 2, cycle 5"),
        ({"labeled": 10}, "has 10 labels, no more than the row before"),
        ({"labeled": "5000"}, "has no whole number as its labeled"),
        ({"labeled": 5001}, "has 5001 labels where its config.json buys 5000"),
        ({"test_loss": "low"}, "has something else as its test_loss"),
        ({"test_loss": float("nan")}, "is not JSON"),
        ({"confusion": [[1, 2]]}, "has something else as its confusion"),
        ({"confusion": [[1, 2], [3]]}, "has something else as its confusion"),
        ({"queried": [2**40]}, "has something else as its queried"),
        ({"queried": 7}, "has something else as its queried"),
        ({"reliability": {"images": [1]}}, "has something else as its reliability"),
    ],
)
def test_edited_row_ends_what_counts(workdir, fields, said):
    change(workdir / RUN / "cycles.jsonl", 4, **fields)
    study = read([workdir])
    (record,) = (record for record in study.runs if record.folder == RUN)
    assert len(record.rows) == 4 and not record.done
    (warning,) = study.warnings
    assert said in warning and "line 5" in warning and "(4 cycles)" in warning


@pytest.mark.parametrize(
    ("text", "said"), [("[1]\n", "line 1 is not a row"), ("{", "is cut in line 1")]
)
def test_file_that_is_no_rows(workdir, text, said):
    (workdir / RUN / "cycles.jsonl").write_text(text)
    study = read([workdir])
    assert said in study.warnings[0] and states(study)[RUN] == "waiting"


def test_cut_file_keeps_its_whole_rows(workdir):
    path = workdir / RUN / "cycles.jsonl"
    os.truncate(path, path.stat().st_size - 10)
    study = read([workdir])
    (record,) = (record for record in study.runs if record.folder == RUN)
    assert len(record.rows) == 9 and not record.done
    assert "is cut in line 10" in study.warnings[0]


def test_binary_rubbish_is_said(workdir):
    (workdir / RUN / "cycles.jsonl").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in read([workdir]).warnings[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"config": {"model": 3}}', "null"])
def test_run_with_a_damaged_configuration_is_left_out(workdir, text):
    (workdir / RUN / "config.json").write_text(text)
    study = read([workdir])
    assert RUN not in states(study) and len(study.runs) == 9
    assert any("config.json" in warning for warning in study.warnings)


def test_run_without_a_configuration_is_left_out(workdir):
    (workdir / RUN / "config.json").unlink()
    study = read([workdir])
    assert len(study.runs) == 9 and "has no config.json" in study.warnings[0]


def test_damaged_failure_is_one(workdir):
    path = workdir / RUN / "cycles.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    (workdir / RUN / "failed.json").write_text("{")
    (record,) = (r for r in read([workdir]).runs if r.folder == RUN)
    assert (record.state, record.note) == ("failed", "its failed.json cannot be read")


def test_stray_folders_are_left_out_and_said(workdir):
    for name in ("trial_1 (2)", "trial_1_old", "trial_01", "trial_x"):
        shutil.copytree(workdir / RUN, (workdir / RUN).parent / name)
    (workdir / "resnet18/sgd/entropy/trial_9").write_text("a file")
    study = read([workdir])
    assert len(study.runs) == 10
    (warning,) = study.warnings
    assert "trial_1 (2)" in warning and "trial_01" in warning


def test_folder_whose_name_its_configuration_denies_is_left_out(workdir):
    shutil.copytree(workdir / "resnet18/sgd", workdir / "resnet18/sgd_old")
    shutil.rmtree(workdir / "resnet18/sgd_old/random")
    study = read([workdir])
    assert len(study.runs) == 10 and len(study.warnings) == 5
    assert "its config.json says optimizer sgd, not sgd_old" in study.warnings[0]


def test_workdir_named_twice_is_read_once(workdir):
    assert len(read([workdir, str(workdir) + "/"]).runs) == 10


def test_copy_of_a_workdir_counts_once_and_the_longer_run_stays(workdir, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    path = workdir / RUN / "cycles.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    study = read([workdir, copy])
    assert len(study.runs) == 10 and len(study.warnings) == 10
    (record,) = (record for record in study.runs if record.folder == RUN)
    assert record.workdir == copy and len(record.rows) == 10
    said = f"{workdir / RUN} is the same run as {copy / RUN}, which counts instead."
    assert said in study.warnings


def test_other_seeds_are_other_trials(workdir, tmp_path):
    seeds = made.Grid(made.LARGE.accuracies, config={"seed": 3})
    study = read([workdir, made.write(tmp_path / "seed3", seeds)])
    assert len(study.runs) == 20 and len(study.settings) == 1
    assert {record.unit for record in study.runs} == {
        (seed, trial) for seed in (0, 3) for trial in range(1, 6)
    }


def test_grid_with_folders_of_other_fields(tmp_path):
    for width in (8, 16):
        grid = made.Grid(made.LARGE.accuracies, trials=2, config={"width": width})
        made.write(tmp_path / f"width={width}", grid)
        (tmp_path / f"width={width}/config.json").unlink()
    lists = {"model": ["resnet18"], "optimizer": ["sgd"]}
    lists |= {"strategy": ["random", "entropy"], "width": [8, 16, 32]}
    config = json.loads((tmp_path / "width=8" / RUN / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"grids": [lists]}))
    study = read([tmp_path])
    assert study.warnings == () and len(study.runs) == 8
    assert study.runs[0].folder == "width=16/resnet18/sgd/entropy/trial_1"
    assert list(study.planned) == [
        f"width=32/resnet18/sgd/{strategy}/trial_{trial}"
        for strategy in ("random", "entropy")
        for trial in (1, 2)
    ]
    assert [s.name for s in study.settings] == ["width 16", "width 8"]


def test_grid_of_settings_of_optimizers(tmp_path):
    """What has no folder yet is named as `aljax.grid` names it."""
    rates = {f"optimizers.{o}.learning_rate": (0.5, 1e-5) for o in ("sgd", "adam")}
    sweep = {"optimizer": ("sgd", "adam", "adamw"), "width": (8, 16)}
    config = Config(trials=1, data=Data("cifar10"), sweep=sweep | rates)
    folders = [run.folder for group in expand(config) for run in group]
    make_plan(config, tmp_path).write()
    first, *rest = folders
    extra = first.split("/")[0]
    values = {"width": 8, "optimizers.sgd.learning_rate": 0.5}
    grid = made.Grid(made.LARGE.accuracies, trials=1, config=values)
    grid = dataclasses.replace(grid, strategies=("learning_loss",))
    made.write(tmp_path / extra, grid)
    study = read([tmp_path])
    assert study.warnings == () and [run.folder for run in study.runs] == [first]
    assert list(study.planned) == rest and len(rest) == 9


def test_nothing_to_read(tmp_path):
    with pytest.raises(ValueError, match="is not a folder; name one that holds runs"):
        read([tmp_path / "none"])
    with pytest.raises(ValueError, match="has no run with a finished cycle"):
        read([tmp_path])
    made.write(tmp_path, made.Grid(lambda *cell: [], trials=1))
    with pytest.raises(ValueError, match="has no run with a finished cycle"):
        read([tmp_path])


def test_tidy_frame_marks_runs_whose_configuration_says_that_they_leak(tmp_path):
    marked = made.Grid(made.LARGE.accuracies, trials=1, about={"leaky": True})
    assert frame([made.write(tmp_path, marked)])["leaky"].all()


def test_frame_is_a_function_whatever_was_imported_before(workdir):
    """A module of this name would take its place."""
    importlib.import_module("aljax.report.tables")
    assert len(aljax.report.frame([workdir])) == 100


def test_tidy_frame(workdir, tmp_path):
    wide = made.Grid(made.LARGE.accuracies, trials=1, config={"width": 32})
    table = frame([workdir, made.write(tmp_path / "wide", wide)])
    assert len(table) == 12 * 10
    assert list(table.columns[:9]) == [
        *("workdir", "folder", "setting", "model", "optimizer", "strategy"),
        *("seed", "trial", "reset"),
    ]
    assert set(table["width"]) == {64, 32} and "epochs" not in table
    assert set(table["state"]) == {"done"} and not table["leaky"].any()
    assert set(table["evaluated_on"]) == {"test"}  # older rows do not say so
    line = table[(table.trial == 2) & (table.strategy == "entropy")].iloc[3]
    assert line.labeled == 4000
    assert (
        line.test_accuracy == made.LARGE.accuracies("resnet18", "sgd", "entropy", 2)[3]
    )
    assert line.confusion.shape == (10, 10)
