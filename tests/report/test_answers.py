"""The answers to made-up runs are the known ones, in so many words."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from aljax import metrics
from aljax.report.answers import answers
from aljax.report.comparisons import against_random, family
from aljax.report.method import notes
from aljax.report.runs import read
from tests.support import made_up_runs as made


def told(tmp_path, grid) -> dict:
    study = read([made.write(tmp_path, grid)])
    return {answer.question: answer for answer in answers(study)}


def area(grid, cell, trial) -> float:
    curve = grid.accuracies(*cell, trial)
    return 100 * metrics.aubc(np.arange(1, len(curve) + 1), curve)


def test_large_difference_is_established(tmp_path):
    answer = told(tmp_path, made.LARGE)["Q4"]
    gains = [
        area(made.LARGE, ("resnet18", "sgd", "entropy"), t)
        - area(made.LARGE, ("resnet18", "sgd", "random"), t)
        for t in range(1, 6)
    ]
    assert np.mean(gains) == pytest.approx(4 * 17 / 18)
    low, high = stats.t.interval(0.95, 4, np.mean(gains), stats.sem(gains))
    assert (f"{low:.1f}", f"{high:.1f}") == ("3.6", "4.0")
    assert answer.verdict == "established"
    assert answer.sentence == (
        "In accuracy averaged over the budget (AUBC), entropy is 3.8 points above "
        "random (95 % interval 3.6 to 4.0): established (n = 5 trials, paired t test)."
    )
    assert (
        "entropy − random: 3.8 points (95 % interval 3.6 to 4.0, n = 5), p < 0.001"
        in (answer.details[0])
    )
    assert "random needs 1.49 times (95 % interval 1.48 to 1.51)" in answer.details[1]


def test_no_difference_is_not_established(tmp_path):
    answer = told(tmp_path, made.NONE)["Q4"]
    assert answer.verdict == "not established"
    assert answer.sentence == (
        "In accuracy averaged over the budget (AUBC), entropy is 0.0 points from "
        "random (95 % interval 1.7 below to 1.7 above): not established with 5 trials "
        "(n = 5 trials, paired t test)."
    )
    assert "only 1.7 points or more could have been shown" in answer.details[0]


def test_small_difference_that_only_pairing_shows(tmp_path):
    answer = told(tmp_path, made.ONLY_PAIRED)["Q4"]
    cells = [("resnet18", "sgd", name) for name in ("entropy", "random")]
    areas = [[area(made.ONLY_PAIRED, cell, t) for t in range(1, 6)] for cell in cells]
    assert stats.ttest_ind(*areas).pvalue > 0.3
    assert answer.verdict == "established"
    assert "1.9 points above random (95 % interval 1.7 to 2.1)" in answer.sentence


def test_difference_that_holm_takes_back(tmp_path):
    study = read([made.write(tmp_path, made.lost_to_holm())])
    (setting,) = study.settings
    margin = next(c for c in against_random(setting) if c.first == "margin")
    assert margin.result.p == pytest.approx(0.02, abs=1e-4)
    assert margin.p_holm == pytest.approx(0.06, abs=3e-4)
    assert margin.result.low > 0
    answer = next(answer for answer in answers(study) if answer.question == "Q4")
    assert answer.verdict == "not established"
    assert (
        "margin is 1.0 points above random (95 % interval 0.3 to 1.7)"
        in answer.sentence
    )
    assert ": not established with 5 trials" in answer.sentence
    assert "p = 0.060 by Holm" in answer.details[0]
    assert "alone it had p = 0.020" in answer.details[0]


def test_whole_study(tmp_path):
    found = told(tmp_path, made.whole_study())
    assert found["Q1"].sentence == (
        "Under 4 strategies, SGD has the highest accuracy averaged over the budget "
        "(AUBC), 79.9 %: 2.0 "
        "points above RMSProp (95 % interval 1.8 to 2.2), 3.0 points above Adam (2.8 "
        "to 3.2) and 3.5 points above AdamW (3.3 to 3.7): established (n = 5 trials, "
        "paired t tests, Holm over 6 comparisons)."
    )
    assert found["Q1"].details[0] == (
        "Compared under entropy, least confidence, margin and learning loss; 3 "
        "networks and 4 strategies of a trial are averaged first."
    )
    assert "ResNet34 has the highest accuracy averaged" in found["Q2"].sentence
    assert "Holm over 3 comparisons" in found["Q2"].sentence
    assert found["Q3"].sentence.startswith(
        "Of 12 pairs, ResNet34 + SGD reaches the most with 10,000 labels under 4 "
        "strategies, 91.6 ± 3.1 % (n = 5), for 34.8 min of training a run; the next, "
        "ResNet50 + SGD, is 0.5"
    )
    assert "the cheapest, ResNet18 + SGD, reaches 90.6 ± 2.9 % (n = 5)" in (
        found["Q3"].sentence
    )
    assert any("labels for 85 %" in detail for detail in found["Q3"].details)
    assert all(answer.verdict == "established" for answer in found.values())


@pytest.mark.parametrize(
    ("gain", "config", "said"),
    [
        (0.0, {}, "that ResNet18 + SGD is the best is not established with 5 trials"),
        (-0.05, {"reset": "never"}, "is not established, since the runs are leaky"),
        (-0.05, {}, "that ResNet18 + SGD is the best is established"),
    ],
)
def test_best_pair(tmp_path, gain, config, said):
    grid = made.Grid(
        made.curves({"adam": gain}, "large"),
        optimizers=("sgd", "adam"),
        strategies=("entropy",),
        config=config,
    )
    answer = told(tmp_path, grid)["Q3"]
    expected = "established" if gain != 0 and not config else "not established"
    assert answer.verdict == expected
    assert said in answer.sentence.replace("Adam", "SGD")


def test_networks_of_a_trial_are_no_trials_of_their_own(tmp_path):
    grid = dataclasses.replace(
        made.whole_study(trials=2), models=("resnet18", "resnet34", "resnet50")
    )
    answer = told(tmp_path, grid)["Q1"]
    assert answer.verdict == "not established"
    assert "not established with 2 trials (n = 2 trials, no test)" in answer.sentence


def two_networks(sides: dict[str, float], **fields) -> made.Grid:
    """Adam minus SGD on each network, with noise of its own."""
    plain = made.curves({"adam": 0.0})

    def accuracies(model, optimizer, strategy, trial):
        curve = np.array(plain(model, optimizer, strategy, trial))
        noise = made.NOISE["small"][(trial + int(model[-2:]) % 3) % 5]
        return (curve + (sides[model] + noise) * (optimizer == "adam")).tolist()

    both = ("resnet18", "resnet50"), ("sgd", "adam")
    return made.Grid(accuracies, models=both[0], optimizers=both[1], **fields)


def test_networks_that_disagree_are_said_to(tmp_path):
    """Adam is two points ahead on ResNet18 and two behind on ResNet50."""
    grid = two_networks({"resnet18": 0.02, "resnet50": -0.02})
    answer = told(tmp_path, grid)["Q1"]
    assert answer.verdict == "not established"
    text = " ".join(answer.details)
    assert "with each alone: ResNet18" in text
    assert "established: they do not agree (ResNet18 and ResNet50 have opposite" in text


@pytest.mark.parametrize(
    ("least", "config"), [(-0.0005, {}), (-0.02, {"reset": "never"})]
)
def test_a_sign_that_is_not_known_disagrees_with_none(tmp_path, least, config):
    """ResNet50's interval holds zero; or weights leak."""
    grid = two_networks({"resnet18": 0.02, "resnet50": least}, config=config)
    text = " ".join(told(tmp_path, grid)["Q1"].details)
    assert "with each alone: ResNet18" in text and "do not agree" not in text


def test_unequal_trials_leave_the_common_ones(tmp_path):
    answer = told(tmp_path, made.unfinished())["Q4"]
    assert "(n = 3 trials, paired t test)" in answer.sentence
    left_out = answer.details[-1]
    assert "resnet18/sgd/entropy/trial_2 failed after 4 cycles" in left_out
    assert "resnet18/sgd/random/trial_5 lacks a partner" in left_out


def test_part_that_is_hardly_begun_takes_no_trials_from_the_others(tmp_path):
    """ResNet50 has one trial, in which the optimizers differ the other way."""
    plain = made.curves({"adam": -0.03})

    def accuracies(model, optimizer, strategy, trial):
        if model == "resnet50":
            turned = plain(model, "sgd" if optimizer == "adam" else "adam", "", trial)
            return turned if trial == 2 else None
        return plain(model, optimizer, strategy, trial)

    grid = made.Grid(
        accuracies, models=("resnet18", "resnet50"), optimizers=("sgd", "adam")
    )
    answer = told(tmp_path, grid)["Q1"]
    assert answer.verdict == "established"
    assert "3.0 points above Adam" in answer.sentence and "n = 5" in answer.sentence
    assert (
        "resnet50/sgd/entropy/trial_2 is where too few trials have a partner"
        in (answer.details[-1])
    )


@pytest.mark.parametrize("trials", [1, 2])
def test_one_or_two_trials_establish_nothing(tmp_path, trials):
    grid = dataclasses.replace(made.LARGE, trials=trials)
    answer = told(tmp_path, grid)["Q4"]
    many = "trial" if trials == 1 else "trials"
    assert answer.verdict == "not established"
    assert (
        f": not established with {trials} {many} (n = {trials} {many}, no test)."
        in (answer.sentence)
    )
    assert "interval" not in answer.sentence


def test_copies_of_a_trial_establish_nothing(tmp_path):
    grid = made.Grid(made.curves({"entropy": 0.04}, luck=[0.0] * 5), trials=3)
    same = dataclasses.replace(
        grid, accuracies=lambda *cell: grid.accuracies(*cell[:3], 1)
    )
    answer = told(tmp_path, same)["Q4"]
    assert answer.verdict == "not established"
    assert "the same in every trial, as in copies of one run" in answer.details[0]


@pytest.mark.parametrize("reset", ["never", "cycle"])
def test_leaks_establish_nothing(tmp_path, reset):
    """Whether the runs say so themselves or only look like it."""
    gain = made.curves({"entropy": 0.03})

    def accuracies(model, optimizer, strategy, trial):
        gained = np.subtract(
            gain(model, optimizer, strategy, trial), gain("", "", "", trial)
        )
        return (np.array(made.LEAK.accuracies("", "", "", trial)) + gained).tolist()

    answer = told(tmp_path, made.Grid(accuracies, config={"reset": reset}))["Q4"]
    why = "the runs are leaky" if reset == "never" else "labels seem to have leaked"
    assert answer.verdict == "not established"
    assert f": not established, since {why} (n = 5 trials" in answer.sentence


def test_questions_that_cannot_be_asked(tmp_path):
    found = told(tmp_path, made.LARGE)
    assert list(found) == ["Q3", "Q4", "Q1", "Q2"]
    assert found["Q1"].sentence == (
        "Not asked: only SGD was run, and a comparison of optimizers needs two."
    )
    assert "sweep={'optimizer': ('sgd', 'adamw')}" in found["Q1"].details[0]
    assert "only ResNet18 was run" in found["Q2"].sentence
    assert found["Q3"].sentence.startswith(
        "With 10,000 labels, under entropy, ResNet18 + SGD reaches"
    )
    lone = told(tmp_path / "lone", made.LEAK)["Q4"]
    assert lone.sentence == (
        "Not asked: random, with which choosing is compared, was not run."
    )


def test_other_settings_are_named_where_a_question_cannot_be_asked(tmp_path):
    narrow = made.Grid(
        made.LARGE.accuracies, optimizers=("adam",), config={"width": 16}, trials=3
    )
    study = read(
        [made.write(tmp_path / "a", made.LARGE), made.write(tmp_path / "b", narrow)]
    )
    first = next(answer for answer in answers(study) if answer.question == "Q1")
    assert (
        first.setting == "width 64"
        and "Adam differ in other settings" in (first.details[1])
    )


def test_nothing_is_answered_before_it_is_finished(tmp_path):
    grid = made.Grid(
        lambda *cell: made.LARGE.accuracies(*cell)[:4], optimizers=("sgd", "adam")
    )
    found = told(tmp_path, grid)
    assert found["Q1"].sentence == (
        "Not answered yet: 0 of 20 runs are finished, and no trial is finished with "
        "two optimizers."
    )
    assert found["Q3"].sentence == "Not answered yet: 0 of 20 runs are finished."
    assert found["Q4"].sentence.startswith("Not answered yet")


def test_one_cycle_is_compared_by_its_accuracy(tmp_path):
    grid = made.Grid(
        made.curves({"adam": 0.05}, cycles=1), cycles=1, optimizers=("sgd", "adam")
    )
    answer = told(tmp_path, grid)["Q1"]
    assert answer.verdict == "established" and "5.0 points above SGD" in answer.sentence


def test_notes_say_what_a_test_set_adds(tmp_path):
    study = read([made.write(tmp_path, dataclasses.replace(made.NONE, trials=3))])
    last = notes(study)[-1]
    # 1.96 · √(0.89 · 0.11 / 1,000)
    assert "the 1,000 test images" in last and "± 1.9 points" in last
    assert any("Holm's correction" in note for note in notes(study))


def test_best_of_a_family_needs_every_comparison(tmp_path):
    (setting,) = read([made.write(tmp_path, made.whole_study())]).settings
    found = family(setting, "optimizer")
    assert len(found) == 6 and all(
        c.match.units == tuple((0, t) for t in range(1, 6)) for c in found
    )
    ps = [c.result.p for c in found]
    assert min(c.p_holm for c in found) == pytest.approx(6 * min(ps))
    sgd = found[0]
    assert (sgd.turned().first, sgd.turned().result.mean) == ("adam", -sgd.result.mean)
    assert sgd.turned().result.low == -sgd.result.high
