"""Whole runs, tiny: pairing, resuming, falling back, stopping; nothing is repeated."""

import json
import shutil
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from aljax.checkpoint import Preempted, Preemption
from aljax.config import Config, LossPrediction, Schedule, replace
from aljax.console import Console
from aljax.experiment import run_group
from aljax.grid import expand
from aljax.keys import key_for
from aljax.lock import locked
from aljax.models import MODELS
from aljax.models.resnet import BasicBlock, ResNet
from aljax.parallel import choose_devices
from aljax.results import RunFolder, write_results
from aljax.session import Session
from aljax.timing import CompileClock

# What may differ between two runs that are the same.
COSTS = {
    *("train_seconds", "evaluate_seconds", "query_seconds", "compile_seconds"),
    *("train_images_per_second", "score_images_per_second"),
    *("peak_device_bytes", "peak_host_bytes"),
}
CONFIG = Config(
    model="tiny",
    width=4,
    epochs=3,
    batch_size=8,
    trials=1,
    cycles=3,
    initial=13,
    budget=10,
    pool_subset=50,
    score_batch_size=64,
    checkpoint_seconds=0.0,
    schedule=Schedule(milestones=(2,)),
    loss_prediction=LossPrediction(detach_epoch=2),
)


def results(rows):
    return [{k: v for k, v in row.items() if k not in COSTS} for row in rows]


@pytest.fixture(scope="module", autouse=True)
def tiny_model():
    """Two stages of one block: what takes long is compiling."""
    MODELS["tiny"] = partial(ResNet, BasicBlock, (1, 1))
    yield
    del MODELS["tiny"]


@pytest.fixture(scope="module")
def session(tiny_dataset, tiny_model):
    return Session(
        tiny_dataset, choose_devices(1), CompileClock(), Console(), Preemption()
    )


@pytest.fixture(autouse=True)
def no_request(session):
    yield
    session.preemption.requested = False


def run(session, config, workdir, trial=None):
    """Runs a configuration, or one trial of it; returns the rows of each run."""
    rows = []
    for group in expand(config):
        if trial is None or group[0].trial == trial:
            run_group(session, group, Path(workdir))
            rows += [
                RunFolder(Path(workdir) / member.folder).rows() for member in group
            ]
    return rows


@pytest.fixture(scope="module")
def undisturbed(session, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    (rows,) = run(session, CONFIG, workdir)
    return workdir, rows


def test_rows_are_whole_and_in_order(undisturbed, tiny_dataset):
    _, rows = undisturbed
    assert [row["cycle"] for row in rows] == [1, 2, 3]
    assert [row["labeled"] for row in rows] == [13, 23, 33]
    assert [len(row["queried"]) for row in rows] == [13, 10, 10]
    bought = sum((row["queried"] for row in rows), [])
    assert len(set(bought)) == 33
    assert max(bought) < len(tiny_dataset.train_labels)
    for row in rows:
        assert np.sum(row["confusion"]) == len(tiny_dataset.test_labels)
        assert row["train_seconds"] > 0 and row["peak_host_bytes"] > 0
        assert not row["leaky"]
    assert rows[0]["label_efficiency"] is None
    assert rows[0]["score_images_per_second"] is None
    assert rows[1]["score_images_per_second"] > 0


def test_only_the_first_cycle_compiles(session, undisturbed, tmp_path):
    _, rows = undisturbed
    assert rows[0]["compile_seconds"] > 0
    # The second cycle is the first to score the pool, by the program that evaluates.
    assert [row["compile_seconds"] for row in rows[1:]] == [0, 0]
    before = session.clock.programs
    run(session, replace(CONFIG, "seed", 5), tmp_path)
    run(session, replace(CONFIG, "strategy", "entropy"), tmp_path)
    assert session.clock.programs == before


def test_same_command_same_numbers(session, undisturbed, tmp_path):
    (again,) = run(session, CONFIG, tmp_path)
    assert results(again) == results(undisturbed[1])


def test_seeds_and_trials_differ(session, undisturbed, tmp_path):
    (other,) = run(session, replace(CONFIG, "seed", 1), tmp_path)
    assert other[0]["queried"] != undisturbed[1][0]["queried"]


def test_strategies_and_optimizers_share_the_start(session, tmp_path):
    grid = {"strategy": ("random", "margin"), "optimizer": ("sgd", "adamw")}
    runs = run(session, replace(CONFIG, "sweep", grid), tmp_path)
    assert len({tuple(rows[0]["queried"]) for rows in runs}) == 1
    sgd_random, adamw_random, sgd_margin, adamw_margin = (
        results(rows)[0] for rows in runs
    )
    assert sgd_random == sgd_margin and adamw_random == adamw_margin
    assert sgd_random != adamw_random
    assert len({tuple(rows[1]["queried"]) for rows in runs}) > 1


def test_first_weights_do_not_depend_on_the_loss_module(session):
    programs = [
        session.programs(
            replace(replace(CONFIG, "strategy", "random"), "loss_prediction.train", t)
        )
        for t in ("always", "needed")
    ]
    key = key_for(0, 1, 1, "weights")
    with_module, without = (program.init(key) for program in programs)
    assert without.loss_params is None and with_module.loss_params is not None
    np.testing.assert_array_equal(
        with_module.params["stem"]["kernel"], without.params["stem"]["kernel"]
    )


def test_a_trial_alone_equals_the_trial_among_others(session, tmp_path):
    config = replace(CONFIG, "trials", 3)
    together = run(session, config, tmp_path / "together")
    (alone,) = run(session, config, tmp_path / "alone", trial=3)
    assert results(alone) == results(together[2])
    assert together[0][0]["queried"] != together[2][0]["queried"]


def test_strategy_can_choose_the_first_images(session, tmp_path):
    random, strategy = (
        run(session, replace(CONFIG, "initial_query", how), tmp_path / how)[0][0]
        for how in ("random", "strategy")
    )
    assert random["queried"] != strategy["queried"]
    assert strategy["score_images_per_second"] > 0


def test_whole_pool(session, tmp_path):
    config = replace(replace(CONFIG, "pool_subset", None), "strategy", "entropy")
    before = session.clock.programs
    (rows,) = run(session, config, tmp_path)
    assert len(rows) == 3
    assert session.clock.programs == before


@pytest.mark.parametrize("calls", [3, 5, 8, 11])
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


def test_time_adds_up_over_restarts(session, tmp_path):
    (group,) = expand(CONFIG)
    session.preemption.requested = True
    with pytest.raises(Preempted):
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
    folder, bad = tmp_path / group[0].folder, "optimizers.sgd.learning_rate"
    with pytest.raises(ArithmeticError) as error:
        run(session, replace(CONFIG, bad, 1e30), tmp_path)
    assert RunFolder(folder).failure() == str(error.value)
    shutil.rmtree(folder / "checkpoints")
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


def test_weights_that_the_last_update_ruined_give_no_row(session, tmp_path):
    config = replace(CONFIG, "optimizers.sgd.learning_rate", 1e30)
    for name, value in (("epochs", 1), ("batch_size", CONFIG.initial)):
        config = replace(config, name, value)
    with pytest.raises(ArithmeticError, match="not a finite number after cycle 1, epo"):
        run(session, config, tmp_path)
    (group,) = expand(config)
    assert RunFolder(tmp_path / group[0].folder).rows() == []


def test_reset_trial_starts_warm(session, undisturbed, tmp_path):
    (warm,) = run(session, replace(CONFIG, "reset", "trial"), tmp_path)
    cold = undisturbed[1]
    assert results(warm)[0] == results(cold)[0]
    assert warm[1]["queried"] == cold[1]["queried"]
    assert warm[1]["test_loss"] != cold[1]["test_loss"]


def test_reset_never_leaks_and_says_so(session, tmp_path):
    config = replace(replace(CONFIG, "reset", "never"), "trials", 2)
    first, second = run(session, config, tmp_path)
    clean = run(session, replace(config, "reset", "cycle"), tmp_path / "clean")
    assert all(row["leaky"] for row in first + second)
    assert results(second)[0]["queried"] == results(clean[1])[0]["queried"]
    assert second[0]["test_loss"] != clean[1][0]["test_loss"]
    (group,) = expand(config)
    write_results(tmp_path)
    table = json.loads((tmp_path / "results.json").read_text())["strategies"]
    assert "leaky" in table["learning_loss"]["sgd"]["tiny"]["label"]
    # Resumed after its first trial, the second finds the weights again.
    shutil.rmtree(tmp_path / group[1].folder)
    assert results(run(session, config, tmp_path)[1]) == results(second)


def test_bfloat16_computes_narrow_and_keeps_weights_wide(session, tmp_path):
    config = replace(CONFIG, "precision", "bfloat16")
    (narrow,) = run(session, config, tmp_path)
    (wide,) = run(session, CONFIG, tmp_path / "wide")
    assert narrow[0]["queried"] == wide[0]["queried"]
    assert narrow[0]["test_loss"] != wide[0]["test_loss"]
    assert np.isfinite([row["test_loss"] for row in narrow]).all()
    state = session.programs(config).init(key_for(0, 1, 1, "weights"))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32", "int32"}
