"""Grids with gaps: what is compared is compared under what both sides have."""

import numpy as np
import pytest

from aljax.report.answers import answers
from aljax.report.matches import shared
from aljax.report.pairs import compared_pairs
from aljax.report.runs import read
from tests.support import made_up_runs as made
from tests.support.records import record, setting

ONE_MORE = ("sgd", "adam", "adamw", "rmsprop")


def test_strategies_that_one_pair_has_alone_give_it_no_lead(tmp_path):
    """Adam alone was run under margin, which gains ten points; SGD is ahead of it."""
    gains = made.curves({"margin": 0.1, "adam": -0.02})
    both = made.Grid(
        gains, optimizers=("sgd", "adam"), strategies=("random", "learning_loss")
    )
    more = made.Grid(gains, optimizers=("adam",), strategies=("margin", "entropy"))
    study = read([made.write(tmp_path / "a", both), made.write(tmp_path / "b", more)])
    (one,) = study.settings
    found = {answer.question: answer for answer in answers(study)}
    assert shared(one) == ("learning_loss",)
    assert "Under learning loss, SGD has the highest accuracy" in found["Q1"].sentence
    assert found["Q1"].details[0] == "Compared under learning loss."
    assert "ResNet18 + SGD reaches the most" in found["Q3"].sentence
    assert found["Q3"].details[0].startswith("Under learning loss. Seconds are sums")
    sgd, adam = compared_pairs(one)
    curves = [r.accuracies for r in one.done("resnet18", "adam", "learning_loss")]
    assert adam.mean == pytest.approx(100 * np.mean(curves, axis=0))
    assert "2 optimizers" in found["Q4"].details[0]
    assert found["Q4"].details[1] == "On ResNet18 + Adam alone: margin and entropy."


def pairs_with(**strategies):
    """Runs of optimizers, each under its own strategies."""
    return setting(
        *(
            record([0.5], optimizer=optimizer, strategy=strategy)
            for optimizer, names in strategies.items()
            for strategy in names
        )
    )


@pytest.mark.parametrize(
    ("strategies", "found"),
    [
        ([("entropy", "margin")] * 3 + [("entropy",)], ("entropy", "margin")),
        ([("entropy", "margin")] + [("entropy",)] * 3, ("entropy",)),
        ([("entropy", "margin"), ("entropy",)], ("entropy",)),
        ([("entropy", "margin"), ("entropy", "badge"), ("entropy",)], ("entropy",)),
        ([("entropy", "margin"), ("badge", "margin")], ("margin",)),
        (
            [("entropy", "margin", "bald"), ("entropy", "margin", "badge"), ("bald",)],
            ("entropy", "margin"),
        ),
        ([("entropy",), ("margin",), ("margin",)], ("margin",)),
        ([("entropy",), ("margin",), ("badge",), ("badge",)], ("badge",)),
        ([("random",), ("random", "margin"), ("margin",)], ("margin",)),
        ([("random",)] * 2, ("random",)),
    ],
)
def test_strategies_that_pairs_share(strategies, found):
    grid = dict(zip(ONE_MORE, strategies, strict=False))
    assert shared(pairs_with(**grid)) == found


def test_a_strategy_that_is_hardly_begun_is_none_that_pairs_share():
    """Entropy has three trials of each optimizer, margin one."""
    runs = [
        record([0.5], optimizer=optimizer, strategy=strategy, trial=trial)
        for optimizer in ("sgd", "adam")
        for strategy, trials in (("entropy", 3), ("margin", 1))
        for trial in range(1, trials + 1)
    ]
    assert shared(setting(*runs)) == ("entropy",)


def test_pair_without_a_shared_strategy_is_named(tmp_path):
    grid = made.Grid(
        lambda m, optimizer, strategy, t: (
            None
            if (optimizer, strategy) == ("rmsprop", "margin")
            else made.CURVE.tolist()
        ),
        optimizers=ONE_MORE,
        strategies=("entropy", "margin"),
    )
    study = read([made.write(tmp_path, grid)])
    answer = next(answer for answer in answers(study) if answer.question == "Q3")
    assert answer.sentence.startswith("Of 3 pairs")
    assert answer.details[1] == (
        "Left out, for lack of a finished trial under entropy and margin: ResNet18 + "
        "RMSProp."
    )


def test_pairs_are_ranked_by_the_trials_that_all_have(tmp_path):
    """Trials 4 and 5, which Adam alone has, are its best."""
    luck = (0.0, 0.0, 0.0, 0.2, 0.2)
    grid = made.Grid(
        lambda m, optimizer, s, t: (
            None
            if optimizer == "sgd" and t > 3
            else (made.CURVE + luck[t - 1] + 0.01 * (optimizer == "sgd")).tolist()
        ),
        optimizers=("sgd", "adam"),
        strategies=("entropy",),
    )
    (one,) = read([made.write(tmp_path, grid)]).settings
    first, second = compared_pairs(one)
    assert (first.optimizer, second.optimizer) == ("sgd", "adam")
    assert second.reached.n == 3
    assert second.reached.mean == pytest.approx(100 * made.CURVE[-1])
