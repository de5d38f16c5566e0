"""Damaged files of a run: one sentence, the file left alone, other runs go on."""

import json
import shutil
from pathlib import Path

import pytest
from jax.errors import JaxRuntimeError

from aljax.config import replace
from aljax.grid import expand
from aljax.launch.reporting import report_at_end
from aljax.machine.preemption import Preempted
from aljax.runs import experiment
from aljax.runs.experiment import check_group, run_experiment, run_group
from aljax.runs.folder import Damaged, RunFolder
from aljax.runs.plan import Plan
from aljax.runs.results import find_runs, write_results
from aljax.runs.status import read_status
from aljax.runs.trial import Diverged
from tests.runs.test_resuming import interrupt
from tests.support.tiny import CONFIG, results

((RUN,),) = expand(CONFIG)


@pytest.fixture
def workdir(undisturbed, tmp_path):
    """A copy of a finished run."""
    shutil.copytree(undisturbed[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def edit_row(change):
    def damage(folder):
        path = folder / "cycles.jsonl"
        lines = path.read_text().splitlines()
        path.write_text("\n".join(change(lines)) + "\n")

    return damage


def without(name):
    def change(lines):
        row = json.loads(lines[1])
        del row[name]
        return [lines[0], json.dumps(row), lines[2]]

    return edit_row(change)


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def dangle(name):
    def damage(folder):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to("nothing")

    return damage


DAMAGES = {
    "configuration is garbage": (write("config.json", b"\x00garb"), "config.json"),
    "configuration is empty": (write("config.json", b""), "config.json"),
    "configuration lacks all": (write("config.json", b"{}"), "has no config"),
    "configuration is a list": (write("config.json", b"[]"), "is no object"),
    "configuration is not UTF-8": (write("config.json", b"\xff"), "config.json"),
    "configuration is gone": (
        lambda folder: (folder / "config.json").unlink(),
        "has rows or saves, but no config.json",
    ),
    "configuration links to nothing": (dangle("config.json"), "link to nothing"),
    "rows link to nothing": (dangle("cycles.jsonl"), "link to nothing"),
    "rows are not UTF-8": (write("cycles.jsonl", b"\xff\n"), "cycles.jsonl"),
    "a row is garbage": (edit_row(lambda x: [x[0], "garb", x[2]]), "line 2 is no JSON"),
    "a row is a list": (edit_row(lambda x: [x[0], "[]", x[2]]), "line 2 has no"),
    "a row lacks its images": (without("queried"), "line 2 has no queried"),
    "a row lacks its accuracy": (without("test_accuracy"), "has no test_accuracy"),
    "a row is missing": (edit_row(lambda x: [x[0], x[2]]), "line 2 is of cycle 3"),
    "a row is there twice": (edit_row(lambda x: [x[0], *x]), "line 2 is of cycle 1"),
    "a blank line between rows": (edit_row(lambda x: [x[0], "", *x[1:]]), "line 2"),
    "rows are a folder": (
        lambda folder: (
            (folder / "cycles.jsonl").unlink() or (folder / "cycles.jsonl").mkdir()
        ),
        "cannot be read",
    ),
}


def contents(folder: Path):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("name", DAMAGES)
def test_one_sentence_and_nothing_touched(name, session, workdir):
    damage, words = DAMAGES[name]
    folder = workdir / RUN.folder
    damage(folder)
    before = contents(workdir)
    with pytest.raises(Damaged) as error:
        check_group(session, [RUN], workdir)
        run_group(session, [RUN], workdir)
    said = str(error.value)
    assert words in said and str(folder) in said and "\n" not in said
    assert contents(workdir) == before
    assert read_status(RUN, workdir).state == "failed"
    write_results(workdir)


FINE = {
    "a blank last line": write("cycles.jsonl", b""),
    "a copy beside it": lambda f: shutil.copytree(f, f.with_name("trial_1 (2)")),
    "an old one beside it": lambda f: shutil.copytree(f, f.with_name("trial_1_old")),
    "a file beside it": lambda f: (f.parent / "notes.txt").touch(),
}


@pytest.mark.parametrize("name", FINE)
def test_what_does_not_matter(name, session, undisturbed, workdir):
    folder = workdir / RUN.folder
    if name == "a blank last line":
        with (folder / "cycles.jsonl").open("a") as file:
            file.write("\n\n")
    else:
        FINE[name](folder)
    check_group(session, [RUN], workdir)
    run_group(session, [RUN], workdir)
    write_results(workdir)
    (found,) = find_runs(workdir)
    assert found.rows() == undisturbed[1]


def test_its_only_row_cut_in_the_middle(session, tmp_path):
    """The checkpoint has seen the row written: the file stays as it is."""
    interrupt(session, tmp_path)
    path = tmp_path / RUN.folder / "cycles.jsonl"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    before = path.read_bytes()
    with pytest.raises(Damaged, match="cycles.jsonl has 0 cycles.*in cycle 2"):
        run_group(session, [RUN], tmp_path)
    assert path.read_bytes() == before
    path.write_text(text)
    run_group(session, [RUN], tmp_path)


@pytest.fixture
def two(tiny_dataset, tmp_path):
    """A plan of two runs."""
    config = replace(CONFIG, "sweep", {"seed": (0, 1)})

    class Ours(Plan):
        def read_images(self, data):
            return tiny_dataset

    return Ours(config, expand(config), tmp_path)


def test_the_others_of_a_grid_go_on(session, two, undisturbed, tmp_path):
    plan, groups = two, two.groups
    damaged = tmp_path / groups[0][0].folder
    damaged.mkdir(parents=True)
    (damaged / "config.json").write_text("garbage")
    (failure,) = run_experiment(plan, session.devices, session.preemption)
    assert str(damaged / "config.json") in failure
    assert not (damaged / "cycles.jsonl").exists()
    (done,) = find_runs(tmp_path)
    assert len(results(done.rows())) == CONFIG.cycles
    # Of one that was done before, too.
    (done.path / "config.json").write_text("")
    shutil.rmtree(damaged)
    (failure,) = run_experiment(plan, session.devices, session.preemption)
    assert str(done.path / "config.json") in failure
    assert len(RunFolder(damaged).rows()) == CONFIG.cycles


def test_a_run_that_does_not_fit_leaves_the_others(session, two, tmp_path, monkeypatch):
    large = two.groups[0][0]

    def fits(trial, carry_out=experiment.run_cycles):
        if trial.run == large:
            raise JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory, 99 GB wanted")
        return carry_out(trial)

    monkeypatch.setattr(experiment, "run_cycles", fits)
    (failure,) = run_experiment(two, session.devices, session.preemption)
    assert failure.startswith(f"{large.folder}: does not fit into the memory")
    states = [read_status(run, tmp_path).state for run in two.runs]
    assert states == ["failed", "done"]

    page = report_at_end(two)
    assert page and large.folder in page.read_text()

    def breaks(trial):
        raise JaxRuntimeError("INTERNAL: something else")

    monkeypatch.setattr(experiment, "run_cycles", breaks)
    with pytest.raises(JaxRuntimeError, match="something else"):
        run_experiment(two, session.devices, session.preemption)


def test_batches_and_images_that_do_not_fit(session, two, tmp_path, monkeypatch):
    """Each run says why it was not carried out; images are not read once more."""
    monkeypatch.setattr("aljax.runs.session.memory_bytes", lambda: 1)
    failures = run_experiment(two, session.devices, session.preemption)
    for failure, run in zip(failures, two.runs, strict=True):
        assert failure.startswith(f"{run.folder}: --config.batch_size: 8 images take")
        assert RunFolder(tmp_path / run.folder).failure() == failure
    reads, read = [], two.read_images
    monkeypatch.setattr(
        type(two), "read_images", lambda s, d: reads.append(d) or read(d)
    )

    def full(images, devices):
        raise JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory, 99 GB wanted")

    monkeypatch.setattr("aljax.runs.session.replicate", full)
    failures = run_experiment(two, session.devices, session.preemption)
    assert len(reads) == 1 and failures == 2 * [
        "the images of fashion_mnist_mini do not fit into the memory that each device "
        "has left; choose fewer or smaller images, in another workdir."
    ]
    told = {RunFolder(tmp_path / run.folder).failure() for run in two.runs}
    assert told == set(failures)


def test_what_a_member_refuses_leaves_the_others(session, two, tmp_path, monkeypatch):
    bad = two.groups[0][0]

    def refuses(trial, carry_out=experiment.run_cycles):
        if trial.run == bad:
            raise ValueError("strategy 'mine' chose image -1.")
        return carry_out(trial)

    monkeypatch.setattr(experiment, "run_cycles", refuses)
    (failure,) = run_experiment(two, session.devices, session.preemption)
    assert failure == f"{bad.folder}: strategy 'mine' chose image -1."
    states = [read_status(run, tmp_path).state for run in two.runs]
    assert states == ["failed", "done"]
    part = type(two)(two.config, [two.groups[0]], tmp_path)  # as with --only
    assert run_experiment(part, session.devices, session.preemption) == [failure]
    lone = replace(two.config, "sweep", {})
    alone = type(two)(lone, [two.groups[0]], tmp_path / "alone")
    with pytest.raises(ValueError, match="chose image -1"):
        run_experiment(alone, session.devices, session.preemption)


def test_trials_behind_one_that_failed(session, two, tmp_path, monkeypatch):
    """With reset=never they go on from it, so they cannot be had either."""
    config = replace(replace(CONFIG, "reset", "never"), "trials", 3)
    plan = type(two)(config, expand(config), tmp_path)

    def diverges(trial):
        raise Diverged(f"{trial.run.folder}: the loss is not a finite number.")

    monkeypatch.setattr(experiment, "run_cycles", diverges)
    (failure,) = run_experiment(plan, session.devices, session.preemption)
    assert failure.startswith(plan.runs[0].folder)
    assert [read_status(run, tmp_path).state for run in plan.runs] == 3 * ["failed"]


def test_asked_to_stop_while_images_are_read(session, two, tmp_path, monkeypatch):
    def read_images(plan, data):
        session.preemption.requested = True
        return session.dataset

    monkeypatch.setattr(type(two), "read_images", read_images)
    with pytest.raises(Preempted):
        run_experiment(two, session.devices, session.preemption)
    assert not list(tmp_path.rglob("trial_*"))
