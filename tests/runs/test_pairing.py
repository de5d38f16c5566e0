"""Runs share what they should share and nothing else; what they compute is said."""

import json
import shutil

import jax
import numpy as np
import pytest

from aljax.config import replace
from aljax.grid import expand
from aljax.keys import key_for
from aljax.runs.folder import RunFolder
from aljax.runs.results import write_results
from aljax.runs.trial import open_trial
from tests.support.tiny import CONFIG, results, run


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


def test_reset_never_renews_the_loss_module_and_keeps_the_network(session, tmp_path):
    config = replace(replace(CONFIG, "reset", "never"), "trials", 2)
    ((_, second),) = expand(config)
    programs = session.programs(config)
    left = programs.init(key_for(7, 7, 7, "weights"))
    folder = RunFolder(tmp_path / second.folder)
    folder.create(second, session.dataset, session.devices)
    trial = open_trial(session, second, folder, left)
    trial.checkpoints.close()
    fresh = programs.init(key_for(config.seed, 2, 1, "weights"))

    def same(a, b):
        return all(map(np.array_equal, jax.tree.leaves(a), jax.tree.leaves(b)))

    assert same(trial.state.variables, left.variables)
    assert same(trial.state.loss_params, fresh.loss_params)
    assert not same(trial.state.loss_params, left.loss_params)
    assert same(trial.state.loss_opt_state, fresh.loss_opt_state)


def test_colour_of_the_padding_reaches_training(session, undisturbed, tmp_path):
    config = replace(CONFIG, "augmentation.padding", "mean")
    (mean,) = run(session, config, tmp_path)
    assert mean[0]["queried"] == undisturbed[1][0]["queried"]
    assert mean[0]["test_loss"] != undisturbed[1][0]["test_loss"]


def test_bfloat16_computes_narrow_and_keeps_weights_wide(session, tmp_path):
    config = replace(CONFIG, "precision", "bfloat16")
    (narrow,) = run(session, config, tmp_path)
    (wide,) = run(session, CONFIG, tmp_path / "wide")
    assert narrow[0]["queried"] == wide[0]["queried"]
    assert narrow[0]["test_loss"] != wide[0]["test_loss"]
    assert np.isfinite([row["test_loss"] for row in narrow]).all()
    state = session.programs(config).init(key_for(0, 1, 1, "weights"))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32", "int32"}
