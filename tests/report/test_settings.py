"""Settings: what may be compared, and what never meets."""

import dataclasses

import pytest

from aljax.report.comparisons import against_random, family
from aljax.report.honesty import doubts
from aljax.report.leaks import bar
from aljax.report.runs import read
from tests.support import made_up_runs as made


def settings_of(tmp_path, *grids):
    folders = [made.write(tmp_path / str(i), grid) for i, grid in enumerate(grids)]
    return read(folders).settings


def grid(**changes):
    return dataclasses.replace(made.LARGE, trials=3, **changes)


def test_networks_optimizers_strategies_and_trials_share_a_setting(tmp_path):
    (setting,) = settings_of(tmp_path, made.whole_study(trials=2))
    assert setting.name == "" and setting.slug == "" and len(setting.runs) == 120
    assert setting.models == ("resnet18", "resnet34", "resnet50")
    assert setting.optimizers == ("sgd", "adam", "adamw", "rmsprop")
    assert (
        setting.strategies[0] == "random" and setting.strategies[-1] == "learning_loss"
    )
    assert len(setting.cells) == 60 and setting.cells[0] == (
        "resnet18",
        "sgd",
        "random",
    )
    assert len(setting.done("resnet50", "adamw", "margin")) == 2


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"width": 16}, "width 16"),
        ({"precision": "bfloat16"}, "precision bfloat16"),
        ({"reset": "never"}, "reset never"),
        ({"initial": 500, "cycles": 10}, "initial 500"),
        ({"pool_subset": None}, "pool subset none"),
    ],
)
def test_other_fields_are_another_setting(tmp_path, config, name):
    one, two = settings_of(tmp_path, grid(), grid(config=config))
    assert two.name == name and two.slug == "setting_2" and one.number == 1
    assert {r.workdir.name for r in one.runs} == {"0"}


@pytest.mark.parametrize(
    "config",
    [
        *({"seed": 4}, {"data.path": "elsewhere"}, {"checkpoint_seconds": 1.0}),
        {"optimizers.adam.learning_rate": 1.0},  # of an optimizer that nobody runs
    ],
)
def test_fields_that_change_no_number_split_nothing(tmp_path, config):
    other = grid(config=config, strategies=("margin",))
    (setting,) = settings_of(tmp_path, grid(), other)
    assert len(setting.runs) == 9


def test_other_images_are_another_setting(tmp_path):
    other = grid(about={"data_fingerprint": "cafe" * 16})
    one, two = settings_of(tmp_path, grid(), other)
    assert one.name == "images 5ca1ab1e…" and two.name == "images cafecafe…"


def test_optimizers_of_two_workdirs_meet_where_each_has_its_own_settings(tmp_path):
    """One side tuned SGD, the other ran Adam: nothing contradicts."""
    tuned = {"optimizers.sgd.learning_rate": 0.05}
    (setting,) = settings_of(tmp_path, grid(config=tuned), grid(optimizers=("adam",)))
    assert setting.optimizers == ("sgd", "adam")


def test_one_optimizer_with_two_settings_splits_its_companions_too(tmp_path):
    both, tuned = ("sgd", "adam"), {"optimizers.sgd.learning_rate": 0.05}
    one, two = settings_of(
        tmp_path, grid(optimizers=both), grid(optimizers=both, config=tuned)
    )
    assert one.name == "SGD learning rate 0.1"
    assert two.name == "SGD learning rate 0.05"
    assert one.optimizers == two.optimizers == both
    assert len(one.runs) == len(two.runs) == 12


def test_tuned_runs_and_the_authors_never_meet(tmp_path):
    """Nor do those of an optimizer whose best rate is the authors' own."""
    both, rate = ("sgd", "adam"), {"optimizers.adam.learning_rate": 0.003}
    tuned = made.write(tmp_path / "tuned", grid(optimizers=both, config=rate))
    authors = made.write(tmp_path / "authors", grid(optimizers=both))
    study = read([tuned, authors])
    found = [{record.workdir.name for record in s.runs} for s in study.settings]
    assert found == [{"tuned"}, {"authors"}]
    (doubt,) = (doubt for doubt in doubts(study) if doubt.kind == "settings")
    assert "told in 2 settings that are never mixed" in doubt.text


def test_networks_with_rates_of_their_own_are_compared(tmp_path):
    grids = (
        grid(models=(model,), config={"optimizers.sgd.learning_rate": rate})
        for model, rate in (("resnet18", 0.1), ("resnet34", 0.03), ("resnet50", 0.1))
    )
    (setting,) = settings_of(tmp_path, *grids)
    assert setting.name == "" and len(setting.runs) == 18
    assert len(family(setting, "model")) == 3


def test_comparisons_stay_inside_a_setting(tmp_path):
    first = grid(strategies=("random",))
    second = grid(strategies=("entropy",), config={"width": 16})
    for setting in settings_of(tmp_path, first, second):
        assert against_random(setting) == () and family(setting, "strategy") == ()


def test_runs_that_were_never_tested(tmp_path):
    folder = made.write(tmp_path / "0", grid(config={"validation": 300}))
    (doubt,) = doubts(read([folder]))
    assert doubt.kind == "validation" and doubt.text.startswith(
        "6 runs of 6 were evaluated on labelled images that were held out of training"
    )
    study = read([folder, made.write(tmp_path / "tested", grid())])
    assert [setting.held_out for setting in study.settings] == [False, True]
    assert [bool(bar(setting)) for setting in study.settings] == [False, True]
