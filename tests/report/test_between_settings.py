"""What settings change: paired by trial in the cells that they share, and Q5."""

import dataclasses

import pytest

from aljax.report import write_report
from aljax.report.answers import answers
from aljax.report.comparisons import between_settings
from aljax.report.runs import read
from tests.support import made_up_runs as made

BOTH = ("sgd", "adam")
TUNED = made.Grid(
    made.curves({"adam": 0.03}),
    optimizers=BOTH,
    config={"optimizers.sgd.learning_rate": 0.01},
)


def study_of(tmp_path, *grids):
    return read(
        [made.write(tmp_path / str(i), grid) for i, grid in enumerate(grids, 1)]
    )


def lower(points: float, **changes) -> made.Grid:
    """`TUNED` with other settings, so many points lower, a little less by trial."""
    return dataclasses.replace(
        TUNED,
        accuracies=lambda model, optimizer, strategy, trial: [
            value - points / 100 + 0.001 * trial * (points != 0)
            for value in TUNED.accuracies(model, optimizer, strategy, trial)
        ],
        **changes,
    )


def test_what_tuning_changes(tmp_path):
    """Adam has the same settings in both, so its runs say nothing of it."""
    study = study_of(tmp_path, TUNED, lower(5, config={}, trials=3))
    assert [s.name for s in study.settings] == [
        "SGD learning rate 0.01",
        "SGD learning rate 0.1",
    ]
    (comparison,) = between_settings(study.settings)
    assert {block[1] for block in comparison.match.blocks} == {"sgd"}
    assert comparison.result.mean == pytest.approx(-5 + 0.2)
    found = [answer for answer in answers(study) if answer.question == "Q5"]
    (answer,) = found
    assert answer.setting == "" and answer.verdict == "established"
    assert answer.sentence == (
        "In accuracy averaged over the budget (AUBC), “SGD learning rate 0.1” is 4.8 "
        "points below “SGD learning rate 0.01” (95 % interval 4.6 to 5.0): established "
        "(n = 3 trials, paired t test)."
    )
    assert answer.details[:2] == (
        "On ResNet18 + SGD under random and entropy.",
        "Averaged inside a trial first: 2 strategies.",
    )
    assert answer.details[-1].endswith("resnet18/sgd/entropy/trial_5 lacks a partner.")


def test_what_no_setting_changes_is_named(tmp_path):
    """SGD's runs are equal, as they are where a field is of no use to them."""
    other = dataclasses.replace(
        TUNED,
        accuracies=lambda model, optimizer, strategy, trial: [
            value - 0.05 * (optimizer == "adam") + 0.001 * trial * (optimizer == "adam")
            for value in TUNED.accuracies(model, optimizer, strategy, trial)
        ],
        config={**TUNED.config, "loss_prediction.margin": 2.0},
    )
    found = answers(study_of(tmp_path, TUNED, other))
    answer = next(answer for answer in found if answer.question == "Q5")
    assert (
        "“loss prediction.margin 2.0” changes nothing in ResNet18 + SGD, random; "
        "ResNet18 + SGD, entropy: trials that both finished are equal."
    ) in answer.details[-1]


def test_what_changes_nothing_at_all_is_an_answer(tmp_path):
    other = dataclasses.replace(TUNED, config={**TUNED.config, "query.clusters": 7})
    found = [a for a in answers(study_of(tmp_path, TUNED, other)) if a.question == "Q5"]
    (answer,) = found
    assert "changes nothing in ResNet18 + SGD, random; " in answer.sentence
    assert answer.verdict is None


def test_other_fields_change_every_optimizer(tmp_path):
    other = lower(1, config={**TUNED.config, "width": 16})
    (comparison,) = between_settings(study_of(tmp_path, TUNED, other).settings)
    assert {block[1] for block in comparison.match.blocks} == set(BOTH)
    assert set(comparison.within) == {"ResNet18 + SGD", "ResNet18 + Adam"}


def test_a_leak_is_measured_and_establishes_nothing(tmp_path):
    resets = ("cycle", "trial", "never")
    grids = [
        lower(points, config={**TUNED.config, "reset": reset})
        for points, reset in zip((0, 2, -5), resets, strict=True)
    ]
    study = study_of(tmp_path, *grids)
    answer = next(a for a in answers(study) if a.question == "Q5")
    assert "“reset never” is 5.3 points above “reset cycle”" in answer.sentence
    assert "not established, since the runs are leaky" in answer.sentence
    assert "Holm over 2 comparisons" in answer.sentence
    verdicts = {c.first: c.established for c in between_settings(study.settings)}
    assert verdicts == {"reset trial": True, "reset never": False}


@pytest.mark.parametrize(
    "changes",
    [
        {"about": {"data_fingerprint": "cafe" * 16}},
        {"config": {**TUNED.config, "initial": 500}},
        {"config": {**TUNED.config, "validation": 300}},
        {"config": {**TUNED.config, "data.image_size": 64}},
    ],
)
def test_other_images_or_budgets_are_not_compared(tmp_path, changes):
    study = study_of(tmp_path, TUNED, lower(1, **changes))
    assert len(study.settings) == 2 and between_settings(study.settings) == ()
    assert not any(answer.question == "Q5" for answer in answers(study))


def test_settings_may_each_change_another_optimizer(tmp_path):
    rates = (TUNED.config, {}, {**TUNED.config, "optimizers.adam.learning_rate": 0.01})
    grids = [TUNED, *(lower(1, config=rate) for rate in rates[1:])]
    study = study_of(tmp_path, *grids)
    answer = next(a for a in answers(study) if a.question == "Q5")
    assert answer.details[:2] == (
        f"On ResNet18 + SGD under random and entropy alone: “SGD learning rate 0.1” − "
        f"“{study.settings[0].name}”.",
        f"On ResNet18 + Adam under random and entropy alone: “Adam learning rate 0.01” "
        f"− “{study.settings[0].name}”.",
    )


def test_rates_of_networks_are_told_by_network(tmp_path):
    """And a rate is told wherever settings differ in it, with whatever else."""
    rates = {"width": 16, "optimizers.sgd.learning_rate": 0.3}
    other = made.Grid(TUNED.accuracies, models=("resnet34",), config={"width": 16})
    study = study_of(tmp_path, TUNED, lower(1, config=rates, trials=3), other)
    assert [setting.name for setting in study.settings] == [
        "width 16, SGD learning rate 0.3 (ResNet18) and 0.1 (ResNet34)",
        "width 64, SGD learning rate 0.01",
    ]


def test_images_without_a_fingerprint_need_one_name(tmp_path):
    unknown = {"data_fingerprint": None}
    grids = [
        dataclasses.replace(TUNED, about=unknown, config={"data.name": name})
        for name in ("cifar10", "cifar100")
    ]
    assert between_settings(study_of(tmp_path, *grids).settings) == ()


def test_what_a_setting_does_not_touch_is_left_out(tmp_path):
    """Twenty passes instead of ten change BALD alone."""
    grid = made.Grid(made.curves({"bald": 0.01}), strategies=("random", "bald"))
    more = made.Grid(
        made.curves({"bald": 0.03}),
        strategies=grid.strategies,
        config={"query.passes": 20, "query.beta": 2.0},
    )
    (comparison,) = between_settings(study_of(tmp_path, grid, more).settings)
    assert comparison.match.blocks == (("resnet18", "sgd", "bald"),)


def test_settings_after_the_first_are_named_by_what_they_change(tmp_path):
    more = {**TUNED.config, "width": 16}
    study = study_of(tmp_path, TUNED, lower(1, config={}), lower(1, config=more))
    assert [setting.name for setting in study.settings] == [
        "width 64, SGD learning rate 0.01",
        "SGD learning rate 0.1",
        "width 16",
    ]


def test_questions_that_no_setting_can_be_asked_are_listed_once(tmp_path):
    study = study_of(tmp_path, TUNED, lower(1, config={}))
    asked = [(answer.question, answer.setting) for answer in answers(study)]
    first, second = (setting.name for setting in study.settings)
    assert asked == [
        *(("Q1", first), ("Q3", first), ("Q4", first), ("Q5", "")),
        *(("Q1", second), ("Q3", second), ("Q4", second), ("Q2", first)),
    ]


def test_the_page_shows_it_first(tmp_path):
    folders = [
        made.write(tmp_path / "1", TUNED),
        made.write(tmp_path / "2", lower(5, config={}, trials=3)),
    ]
    page = write_report(folders).read_text()
    assert page.index("Accuracy over labels, by setting") < page.index("by strategy")
    table = tmp_path / "1" / "report" / "tables" / "settings.csv"
    assert table.read_text().startswith("first,second,part,n,mean")
    assert (tmp_path / "1" / "report" / "figures" / "accuracy_by_setting.svg").exists()


def test_a_page_of_settings_alone_asks_what_they_change(tmp_path):
    folders = []
    for reset in ("cycle", "trial"):
        grid = made.Grid(
            made.curves({}), strategies=("random",), trials=3, config={"reset": reset}
        )
        folders.append(made.write(tmp_path / reset, grid))
    assert "<h1>What do settings change?</h1>" in write_report(folders).read_text()
