"""What is said of a grid is what its folders hold; looking changes nothing."""

import pytest

from aljax.config import Config, replace
from aljax.grid import expand
from aljax.runs import lock
from aljax.runs.folder import ROW_FIELDS, RunFolder
from aljax.runs.lock import locked
from aljax.runs.plan import Plan
from aljax.runs.status import lines, read_status, seconds_left, seconds_per_image
from tests.support.tiny import IMAGES

CONFIG = Config(
    trials=1,
    cycles=2,
    initial=10,
    budget=30,
    epochs=5,
    sweep={
        "model": ("resnet18", "resnet34"),
        "strategy": ("random", "margin", "entropy"),
    },
)
GROUPS = expand(CONFIG)
RUNS = [run for group in GROUPS for run in group]


def plan(workdir) -> Plan:
    return Plan(CONFIG, GROUPS, workdir)


def open_run(workdir, run, cycles: int, seconds: float = 1.0) -> RunFolder:
    """Leaves a run with some finished cycles, each of which took `seconds`."""
    folder = RunFolder(workdir / run.folder)
    folder.create(run, IMAGES)
    for cycle in range(1, cycles + 1):
        row = dict.fromkeys(ROW_FIELDS) | {"cycle": cycle, "train_seconds": seconds}
        folder.append(row | {"labeled": (10, 40)[cycle - 1]})
    return folder


def contents(workdir):
    files = sorted(path for path in workdir.rglob("*") if path.is_file())
    return [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in files]


def test_nothing_begun(tmp_path):
    said = lines(plan(tmp_path / "nowhere"))
    assert said[0] == "waiting  resnet18/sgd/random/trial_1   0/2 cycles"
    assert said[-1] == (
        "6 runs: 0 done, 0 running, 6 waiting, 0 failed; training time left: unknown."
    )
    assert list(tmp_path.iterdir()) == []


def test_every_state(tmp_path):
    open_run(tmp_path, RUNS[0], 2)
    open_run(tmp_path, RUNS[1], 1)
    failed = open_run(tmp_path, RUNS[2], 1)
    failed.fail(f"{RUNS[2].folder}: the loss is not a number. Lower the rate.")
    open_run(tmp_path, RUNS[3], 0)
    with locked(failed.path):
        pass  # gone since
    with locked(tmp_path / RUNS[1].folder):
        before = contents(tmp_path)
        said = lines(plan(tmp_path))
        assert contents(tmp_path) == before
    done, running, stopped, *waiting = said[:-1]
    assert done == "done     resnet18/sgd/random/trial_1   2/2 cycles"
    assert running.startswith(
        "running  resnet18/sgd/margin/trial_1   1/2 cycles  proce"
    )
    assert stopped == (
        "failed   resnet18/sgd/entropy/trial_1  1/2 cycles  "
        "the loss is not a number. Lower the rate."
    )
    assert [line.split()[0] for line in waiting] == ["waiting"] * 3
    assert said[-1].startswith("6 runs: 1 done, 1 running, 3 waiting, 1 failed; ")


def test_a_run_that_ends_while_one_looks_is_done(tmp_path, monkeypatch):
    folder = open_run(tmp_path, RUNS[0], 1)

    def ends(path):
        folder.append(dict.fromkeys(ROW_FIELDS) | {"cycle": 2})

    monkeypatch.setattr(lock, "holder", ends)
    assert read_status(RUNS[0], tmp_path).state == "done"


def test_a_failed_run_that_is_taken_up_again_has_not_failed(tmp_path):
    folder = open_run(tmp_path, RUNS[0], 1)
    folder.fail("the loss is not a number")
    with locked(folder.path):
        assert read_status(RUNS[0], tmp_path).state == "running"
    assert read_status(RUNS[0], tmp_path).state == "failed"
    folder.create(RUNS[0], IMAGES)
    assert read_status(RUNS[0], tmp_path).state == "waiting"


def test_time_left(tmp_path):
    # 5 epochs of 10 and 40 images: 250 images in 4 s, and of the 34 layers 50 in 8 s.
    open_run(tmp_path, RUNS[0], 2, seconds=2.0)
    open_run(tmp_path, RUNS[3], 1, seconds=8.0)
    rates = seconds_per_image(tmp_path)
    assert rates == pytest.approx(
        {"resnet18 64 float32": 4 / 250, "resnet34 64 float32": 8 / 50, "": 12 / 300}
    )
    statuses = [read_status(run, tmp_path) for run in RUNS]
    assert [status.images_left for status in statuses] == [0, 250, 250, 200, 250, 250]
    expected = 500 * 4 / 250 + 700 * 8 / 50
    assert seconds_left(statuses, rates) == pytest.approx(expected)
    assert lines(plan(tmp_path))[-1].endswith("training time left: 0:02:00.")
    # A model without a row takes the mean of all.
    (other,) = expand(replace(replace(CONFIG, "sweep", {}), "model", "resnet50"))
    left = seconds_left([read_status(other[0], tmp_path)], rates)
    assert left == pytest.approx(250 * 12 / 300)
    # Neither has one of another width a rate of its own.
    (other,) = expand(replace(replace(CONFIG, "sweep", {}), "width", 16))
    left = seconds_left([read_status(other[0], tmp_path / "none")], rates)
    assert left == pytest.approx(250 * 12 / 300)
    # A run that failed is not gone on with by itself.
    RunFolder(tmp_path / RUNS[3].folder).fail("why")
    statuses = [read_status(run, tmp_path) for run in RUNS]
    expected -= 200 * 8 / 50
    assert seconds_left(statuses, rates) == pytest.approx(expected)


def test_held_out_images_are_not_trained_on(tmp_path):
    (run,), *_ = expand(replace(CONFIG, "validation", 4))
    open_run(tmp_path, run, 1, seconds=3.0)  # 5 epochs of 6 images
    assert seconds_per_image(tmp_path)[""] == pytest.approx(3 / 30)


def test_time_left_of_several_processes(tmp_path):
    for run in RUNS[:2]:
        open_run(tmp_path, run, 1)
    first, second = (tmp_path / run.folder for run in RUNS[:2])
    with locked(first), locked(second):
        assert lines(plan(tmp_path))[-1].endswith(", shared by 2 processes.")


def test_nothing_left(tmp_path):
    for run in RUNS:
        open_run(tmp_path, run, 2)
    assert lines(plan(tmp_path))[-1] == (
        "6 runs: 6 done, 0 running, 0 waiting, 0 failed; training time left: 0:00:00."
    )
