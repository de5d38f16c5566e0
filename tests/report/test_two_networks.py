"""Two networks of unequal rates, trials and machines: nothing goes unsaid."""

import dataclasses

import pytest

from aljax.report.answers import answers
from aljax.report.gallery.cost import what_it_cost
from aljax.report.gallery.picture import Missing
from aljax.report.runs import read
from aljax.report.style import Palette
from aljax.report.tables import tables
from tests.support import made_up_runs as made

PLAIN = made.curves({"adam": 0.02, "resnet34": -0.03})
LARGE = made.Grid(
    PLAIN, optimizers=("sgd", "adam"), config={"optimizers.sgd.learning_rate": 0.01}
)
DEEP = dataclasses.replace(
    LARGE,
    models=("resnet34",),
    trials=3,
    config={"optimizers.sgd.learning_rate": 0.003},
)
OTHER = {"about": {"device": "1 x cpu (Intel Xeon)"}}


def study_of(tmp_path, **changes):
    deep = dataclasses.replace(DEEP, **changes)
    grids = {"18": LARGE, "34": deep}
    return read([made.write(tmp_path / name, grid) for name, grid in grids.items()])


@pytest.fixture
def told(tmp_path):
    study = study_of(tmp_path, **OTHER)
    assert [setting.name for setting in study.settings] == [""]
    return {answer.question: answer for answer in answers(study)}


def test_networks_are_told_with_their_own_rates(told):
    own = (
        "Not all settings are the same on all networks: SGD learning rate 0.01 "
        "(ResNet18) and 0.003 (ResNet34)."
    )
    for question in ("Q1", "Q2", "Q3"):
        assert own in told[question].details


def test_trials_that_one_network_lacks_are_named(told):
    assert "(n = 3 trials" in told["Q1"].sentence
    left_out = told["Q1"].details[-1]
    assert "8 runs of which each is of a trial that not all have" in left_out
    assert "lacks a partner" not in left_out
    assert "8 runs of which each lacks a partner" in told["Q2"].details[-1]
    alone = next(text for text in told["Q1"].details if "with each alone" in text)
    assert ", n = 5), ResNet34" in alone and "ResNet34 2.1 (1.7 to 2.4)." in alone
    assert "Only trials count that all pairs finished, under entropy: 1, 2 and 3." in (
        told["Q3"].details
    )


def test_seconds_of_two_machines_are_not_compared(tmp_path):
    study = study_of(tmp_path / "two", **OTHER)
    (setting,), found = study.settings, {a.question: a for a in answers(study)}
    mixed = (
        "Seconds are not compared: runs are of different machines (1 x NVIDIA H100 and "
        "1 x cpu (Intel Xeon))."
    )
    answer = found["Q3"]
    text = " ".join((answer.sentence, *answer.details))
    assert mixed in text and "cheap" not in text and "training" not in text
    time, memory = what_it_cost(setting, Palette(study.runs))
    assert isinstance(time, Missing) and time.text == mixed
    assert "of runs that one process made in turn" in memory.caption
    shown = {table.stem: table for table in tables(study)}
    assert mixed in shown["cost"].caption and mixed in shown["summary"].caption
    assert "front" not in shown["cost"].shown and not shown["cost"].data.front.any()
    assert set(shown["cost"].data.n) == {3} and set(shown["summary"].data.n) == {3, 5}

    study = study_of(tmp_path / "one")
    answer = next(a for a in answers(study) if a.question == "Q3")
    assert "cheapest" in answer.sentence and "training" in " ".join(answer.details)
    time, *_ = what_it_cost(study.settings[0], Palette(study.runs))
    assert "3 trials that all have" in time.caption and "hollow is random" in (
        time.caption
    )


def test_comparisons_say_under_which_strategies(tmp_path):
    shown = {table.stem: table for table in tables(study_of(tmp_path))}
    for name in ("optimizers", "networks"):
        assert shown[name].caption.startswith("Under entropy. ")
        under_random = shown[f"{name}_under_random"]
        assert under_random.caption.startswith("Under random. ")
        assert under_random.title.endswith(", under random")


def test_a_verdict_on_part_of_the_comparisons(tmp_path):
    """Adam is ahead of SGD, and no further from AdamW than luck."""
    grid = made.Grid(
        made.curves({"adam": 0.03, "adamw": 0.03}), optimizers=("sgd", "adam", "adamw")
    )
    found = answers(read([made.write(tmp_path, grid)]))
    answer = next(answer for answer in found if answer.question == "Q1")
    assert answer.verdict == "established in part"
    assert ": established; " in answer.sentence and "not established" in (
        answer.sentence
    )
