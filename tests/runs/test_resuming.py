"""Stopped, damaged or failed, a run goes on: nothing is lost, repeated or different."""

import json
import shutil

import pytest

from aljax.config import replace
from aljax.grid import expand
from aljax.machine.preemption import Preempted, Preemption
from aljax.runs.checkpoint import Checkpoints, DiskFailed
from aljax.runs.experiment import run_group
from aljax.runs.folder import Damaged, RunFolder
from aljax.runs.lock import locked
from tests.support.tiny import CONFIG, results, run


@pytest.mark.parametrize("calls", [5, 11])
def test_preempted_and_resumed_is_the_same(
    session, undisturbed, tmp_path, monkeypatch, calls
):
    """Asks for the machine after a number of chances, again and again."""

    class Requested:
        """Asked whether to stop, says yes each so many times, and sticks to it."""

        chances, now = 0, False

        def __get__(self, preemption, owner):
            self.chances += 1
            self.now |= self.chances % (calls + 1) == calls
            return self.now

        def __set__(self, preemption, value):
            self.now = value

    monkeypatch.setattr(Preemption, "requested", Requested(), raising=False)
    interruptions = 0
    for _ in range(60):
        try:
            (rows,) = run(session, CONFIG, tmp_path)
            break
        except Preempted:
            interruptions += 1
            session.preemption.requested = False
    assert interruptions >= 1
    assert results(rows) == results(undisturbed[1])


def test_time_adds_up_over_restarts(session, tmp_path, monkeypatch):
    (group,) = expand(CONFIG)
    session.preemption.requested = True
    with monkeypatch.context() as patch, pytest.raises(Preempted):
        patch.setattr(session, "check_preemption", lambda: None)  # before it begins
        run_group(session, group, tmp_path)
    session.preemption.requested = False
    meta = max((tmp_path / group[0].folder / "checkpoints").glob("[0-9]*"))
    spent = json.loads((meta / "meta" / "metadata").read_text())["train_seconds"]
    assert spent > 0
    run_group(session, group, tmp_path)
    row = RunFolder(tmp_path / group[0].folder).rows()[0]
    assert row["train_seconds"] > spent


def test_finished_runs_are_skipped(session, undisturbed):
    workdir, rows = undisturbed
    (path,) = workdir.rglob("cycles.jsonl")
    before = path.stat().st_mtime_ns, session.clock.programs
    assert run(session, CONFIG, workdir) == [rows]
    assert (path.stat().st_mtime_ns, session.clock.programs) == before


def interrupt(session, workdir, chances=3):
    """Leaves a run with one row and two checkpoints, some chances into cycle 2.

    The first chance is in its query, later ones are in its training.
    """
    (group,) = expand(CONFIG)
    folder = RunFolder(workdir / group[0].folder)

    class SecondCycle:
        asked = 0
        check = Preemption.check

        @property
        def requested(self):
            self.asked += len(folder.rows()) == 1
            return self.asked > chances

    regular, session.preemption = session.preemption, SecondCycle()
    try:
        with pytest.raises(Preempted):
            run_group(session, group, workdir)
    finally:
        session.preemption = regular
    return folder, sorted(folder.checkpoints.glob("[0-9]*"), key=lambda p: int(p.name))


def damage_by_truncation(checkpoint):
    for path in checkpoint.rglob("*"):
        if path.is_file() and path.stat().st_size > 1000:
            path.write_bytes(path.read_bytes()[:500])


def damage_by_one_bit(checkpoint):
    """In each file of data, since not all that are written are read again."""
    for path in checkpoint.rglob("d/*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)


def damage_by_half_copy(checkpoint):
    shutil.rmtree(checkpoint / "arrays")


@pytest.mark.parametrize(
    "damage", [damage_by_truncation, damage_by_one_bit, damage_by_half_copy]
)
def test_damaged_checkpoint_falls_back_and_says_so(
    session, undisturbed, tmp_path, caplog, damage
):
    _, saves = interrupt(session, tmp_path)
    assert len(saves) == 2
    damage(saves[-1])
    (rows,) = run(session, CONFIG, tmp_path)
    assert results(rows) == results(undisturbed[1])
    assert f"{saves[-1]} is damaged" in caplog.text
    assert "falling back" in caplog.text


def test_all_checkpoints_damaged_begins_again(session, undisturbed, tmp_path):
    _, saves = interrupt(session, tmp_path)
    for save in saves:
        damage_by_truncation(save)
    (rows,) = run(session, CONFIG, tmp_path)
    assert results(rows) == results(undisturbed[1])


def test_a_disk_that_does_not_answer_is_no_damaged_checkpoint(
    session, undisturbed, tmp_path, monkeypatch
):
    """Nothing is deleted, or begun again, for what may be read another time."""
    _, saves = interrupt(session, tmp_path)

    def fail(*args):
        raise ValueError("NOT_FOUND: reading … [os_error_code='5']")  # as tensorstore

    with monkeypatch.context() as patch, pytest.raises(DiskFailed) as caught:
        patch.setattr(Checkpoints, "_read", fail)
        run(session, CONFIG, tmp_path)
    assert str(caught.value).endswith("cannot be read (Input/output error)")
    assert all((save / "arrays").is_dir() for save in saves)
    (rows,) = run(session, CONFIG, tmp_path)
    assert results(rows) == results(undisturbed[1])


def test_a_checkpoint_of_another_network_is_refused(session, tmp_path):
    folder, _ = interrupt(session, tmp_path)
    other = session.programs(replace(CONFIG, "width", 2 * CONFIG.width)).shapes
    with pytest.raises(Damaged, match="another network or .*delete this folder"):
        Checkpoints(folder.checkpoints).restore(other)


def test_torn_row_is_written_again(session, undisturbed, tmp_path):
    folder, _ = interrupt(session, tmp_path, chances=0)
    path = folder.path / "cycles.jsonl"
    path.write_text(path.read_text()[:-20])
    (rows,) = run(session, CONFIG, tmp_path)
    assert results(rows) == results(undisturbed[1])


def test_missing_rows_are_refused(session, tmp_path):
    folder, _ = interrupt(session, tmp_path)
    (folder.path / "cycles.jsonl").unlink()
    with pytest.raises(ValueError, match="put the missing rows back, or delete"):
        run(session, CONFIG, tmp_path)


def test_divergence_names_cycle_epoch_and_remedy(session, tmp_path):
    config = replace(CONFIG, "optimizers.sgd.learning_rate", 1e30)
    with pytest.raises(
        ArithmeticError, match=r"cycle 1, epoch \d.*learning_rate \(now 1e\+30\)"
    ):
        run(session, config, tmp_path)
    (group,) = expand(config)
    assert RunFolder(tmp_path / group[0].folder).rows() == []


def test_a_failure_is_kept_until_the_run_is_taken_up_again(session, tmp_path):
    (group,) = expand(CONFIG)
    folder = tmp_path / group[0].folder
    RunFolder(folder).fail("why")
    assert RunFolder(folder).failure() == "why"
    (rows,) = run(session, CONFIG, tmp_path)
    assert RunFolder(folder).failure() is None and len(rows) == 3
    assert not (folder / "failed.json").exists()


def test_a_run_that_another_process_is_at_is_refused(session, tmp_path):
    sweep = {"strategy": ("random", "margin")}
    theirs, ours = expand(replace(CONFIG, "sweep", sweep))
    folder = tmp_path / theirs[0].folder
    with locked(folder):
        with pytest.raises(ValueError, match=f"{folder} is being run by process"):
            run_group(session, theirs, tmp_path)
        assert [path.name for path in folder.iterdir()] == ["lock.json"]
        run_group(session, ours, tmp_path)
    assert len(RunFolder(tmp_path / ours[0].folder).rows()) == 3
