"""Plans: other experiments are kept out of a workdir, which remembers its grids."""

import dataclasses
import errno
import os
from pathlib import Path

import pytest

from aljax.config import Config, Schedule, replace
from aljax.models import MODELS
from aljax.models.conv import kernels
from aljax.runs.advice import SLOW_BFLOAT16, UNUSED_TILES, advice
from aljax.runs.folder import read_json
from aljax.runs.plan import Plan, make_plan

CONFIG = Config(trials=2, cycles=3, strategy="random", optimizer="adam")


def test_config_of_a_workdir_remembers_every_grid(tmp_path):
    def grids(**sweep):
        config = Config(strategy="random", sweep=sweep)
        Plan(config, [], tmp_path).check_workdir()
        Plan(config, [], tmp_path).write()
        return read_json(tmp_path / "config.json")["grids"]

    few, more = ["random", "margin"], ["random", "margin", "entropy"]
    alone = {"model": ["resnet18"], "optimizer": ["sgd"], "strategy": ["random"]}
    assert grids(strategy=few) == [alone | {"strategy": few}]
    assert grids(strategy=more) == [alone | {"strategy": more}]
    assert grids(strategy=few) == [alone | {"strategy": more}]
    both = [alone | {"strategy": more}, alone | {"optimizer": ["sgd", "adam"]}]
    assert grids(optimizer=["sgd", "adam"]) == both
    assert grids(strategy=more) == both


def test_workdir_of_the_same_experiment_is_taken(tmp_path):
    workdir = tmp_path / "new" / "folder"
    Plan(CONFIG, [], workdir).check_workdir()
    assert not workdir.parent.exists()
    Plan(CONFIG, [], workdir).write()
    Plan(CONFIG, [], workdir).check_workdir()
    Plan(replace(CONFIG, "trials", 9), [], workdir).check_workdir()


def test_workdir_of_another_experiment_is_refused(tmp_path):
    Plan(CONFIG, [], tmp_path).write()
    other = replace(replace(CONFIG, "epochs", 7), "schedule", Schedule((3, 5)))
    with pytest.raises(ValueError) as error:
        Plan(other, [], tmp_path).check_workdir()
    assert str(error.value) == (
        f"--workdir={tmp_path} holds another experiment: epochs (200 there, 7 here); "
        "schedule.milestones ([160] there, [3, 5] here). "
        "Choose another --workdir, or set these fields as they are there."
    )


def test_workdir_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").touch(mode=0o777)
    for workdir in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError) as error:
            Plan(CONFIG, [], workdir).check_workdir()
        assert f"--workdir={workdir}: {tmp_path / 'file'} is not" in str(error.value)


def test_workdir_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    # The superuser may write anywhere, so the answer is given for it.
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(ValueError, match="not a folder that can be written"):
        Plan(CONFIG, [], tmp_path / "below").check_workdir()


def test_workdir_that_cannot_be_made_is_a_sentence(tmp_path, monkeypatch):
    def refuse(path, **how):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ValueError, match=r"--workdir=.*/x cannot be made \(No such"):
        Plan(CONFIG, [], tmp_path / "x").write()


def test_missing_kernels_are_told_where_they_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "missing", lambda: "there is no C++ compiler")
    (sentence,) = advice(make_plan(CONFIG, tmp_path), "cpu")
    assert "there is no C++ compiler" in sentence
    for other in (
        replace(CONFIG, "precision", "bfloat16"),
        replace(CONFIG, "sweep", {"precision": ("float32", "bfloat16")}),
    ):
        plan = make_plan(other, tmp_path)
        assert advice(plan, "cpu") == [sentence, SLOW_BFLOAT16]
        assert advice(plan, "gpu") == []


def test_no_advice_where_there_are_kernels(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "missing", lambda: "")
    monkeypatch.setattr(kernels, "unused_tiles", lambda: False)
    plan = make_plan(replace(CONFIG, "precision", "bfloat16"), tmp_path)
    assert advice(plan, "cpu") == []


def test_a_compiler_without_amx_is_told_where_it_matters(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "missing", lambda: "")
    monkeypatch.setattr(kernels, "unused_tiles", lambda: True)
    assert advice(make_plan(CONFIG, tmp_path), "cpu") == []
    plan = make_plan(replace(CONFIG, "precision", "bfloat16"), tmp_path)
    assert advice(plan, "cpu") == [UNUSED_TILES] and advice(plan, "gpu") == []


def test_a_part_of_a_grid_that_has_grown_is_taken(tmp_path):
    """Begun with random alone; the rest of the grid came later."""
    make_plan(Config(strategy="random"), tmp_path).write()
    for last in (2, 3):
        sweep = {"strategy": ("random", "entropy", "margin")[:last]}
        make_plan(Config(sweep=sweep), tmp_path).write()
    for strategy in ("random", "entropy", "margin"):
        make_plan(Config(strategy=strategy), tmp_path).check_experiment()
    part = Config(sweep={"strategy": ("margin", "entropy")})
    make_plan(part, tmp_path).check_experiment()
    with pytest.raises(ValueError, match="strategy .* there, bait here"):
        make_plan(Config(strategy="bait"), tmp_path).check_experiment()


def test_of_two_commands_begun_together_the_later_is_refused(tmp_path):
    one, other = (make_plan(Config(epochs=n), tmp_path) for n in (190, 180))
    for plan in (one, other):
        plan.check_workdir()
    one.write()
    with pytest.raises(ValueError, match="holds another experiment: epochs"):
        other.write()


def test_a_sweep_the_other_way_round_is_refused(tmp_path):
    """Its folders would have other names, and all would run again."""
    sweep = {"width": (8, 16), "strategy": ("random",), "seed": (0, 1)}
    make_plan(Config(sweep=sweep), tmp_path).write()
    turned = {name: sweep[name] for name in ("seed", "width", "strategy")}
    make_plan(Config(sweep=sweep), tmp_path).check_experiment()
    with pytest.raises(ValueError, match="come as width, seed in --workdir=.*write"):
        make_plan(Config(sweep=turned), tmp_path).check_experiment()


def test_a_run_of_another_shard_is_said_to_be_there():
    config = Config(trials=2)
    first, second = (run.folder for run in make_plan(config, "runs").runs)
    plan = make_plan(config, "runs", shard_text="2/2", only_folder=second)
    assert [run.folder for run in plan.runs] == [second]
    with pytest.raises(ValueError, match=f"--only={first}: this run is not in --shard"):
        make_plan(config, "runs", shard_text="2/2", only_folder=first)


def test_a_small_last_batch_is_told_of(monkeypatch):
    """The smallest of all cycles and members; none for those that do no harm."""
    config = Config(initial=500, budget=500, cycles=6, batch_size=64, trials=1)
    (said,) = advice(make_plan(config, "runs"), "gpu")
    assert said.startswith("2,500 images leave a last batch of 4,")
    for changes in ({"batch_size": 50}, {"cycles": 4}, {"initial": 512, "budget": 512}):
        plan = make_plan(dataclasses.replace(config, **changes), "runs")
        assert not advice(plan, "gpu")
    monkeypatch.setitem(MODELS, "own", lambda **fields: None)
    assert not advice(make_plan(replace(config, "model", "own"), "runs"), "gpu")
    both = dataclasses.replace(config, sweep={"batch_size": (50, 499)})
    (said,) = advice(make_plan(both, "runs"), "gpu")
    assert said.startswith("500 images leave a last batch of 1,")


def test_a_milestone_that_never_comes_is_told_of():
    config = Config(epochs=50, cycles=1, schedule=Schedule((40, 160)))
    (said,) = advice(make_plan(config, "runs"), "gpu")
    assert said.startswith("schedule.milestones has 160, but training ends after 50 ")
    assert not advice(make_plan(replace(config, "epochs", 161), "runs"), "gpu")
