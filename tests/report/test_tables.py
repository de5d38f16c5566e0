"""Tables hold the numbers of the runs, and mark only what is established."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from aljax.report.budgets import budget_differences, penalties
from aljax.report.costs import costs
from aljax.report.purchases import classes_bought, overlap
from aljax.report.runs import read
from aljax.report.tables import tables, write_csv
from tests.support import made_up_runs as made


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return study_of(tmp_path_factory.mktemp("whole"), made.whole_study())


def study_of(tmp_path, grid):
    return read([made.write(tmp_path, grid)])


def named(tmp_path, grid) -> dict:
    found = tables(study_of(tmp_path, grid))
    assert len({table.stem for table in found}) == len(found)
    return {table.stem: table for table in found}


def test_accuracy_at_each_budget(tmp_path):
    table = named(tmp_path, made.LARGE)["accuracy"]
    line = table.data[(table.data.strategy == "entropy") & (table.data.labeled == 3000)]
    values = [
        made.LARGE.accuracies("resnet18", "sgd", "entropy", t)[2] for t in range(1, 6)
    ]
    assert line["mean"].item() == pytest.approx(np.mean(values))
    assert line["sd"].item() == pytest.approx(np.std(values, ddof=1))
    assert (
        table.shown.loc[1, "3,000"] == "73.1 ± 3.0" and table.shown.loc[1, "n"] == "5"
    )
    # All budgets but the first, which strategies share.
    assert table.best == {(1, column) for column in range(5, 14)}


@pytest.mark.parametrize(
    "grid",
    [
        *(made.NONE, dataclasses.replace(made.LARGE, trials=2)),
        dataclasses.replace(made.LARGE, config={"reset": "never"}),
    ],
    ids=["none", "two trials", "leak"],
)
def test_nothing_is_marked_that_is_not_established(tmp_path, grid):
    assert not any(table.best for table in named(tmp_path, grid).values())


def test_summary(tmp_path):
    table = named(tmp_path, made.LARGE)["summary"]
    line = table.shown.iloc[0]
    assert line["network"] == "ResNet18" and line["strategy"] == "random"
    assert line["AUBC %"] == "77.1 ± 2.9" and line["label efficiency"] == "2.23 ± 0.00"
    # 0.02 s for each of 1,000 + … + 10,000 images.
    assert table.data.loc[0, "train_seconds"] == pytest.approx(1100)
    assert line["training"] == "18.3 min" and line["peak memory"] == "4.0 GB"


def test_labels_needed(tmp_path):
    table = named(tmp_path, made.LARGE)["labels_needed"]
    assert list(table.data.accuracy.unique()) == [0.5, 0.6, 0.7, 0.8, 0.9]
    random = table.data[table.data.strategy == "random"].set_index("accuracy")
    assert np.isnan(random.loc[0.9, "labels"])
    assert table.shown.loc[0, "90 %"] == "not reached by 10,000"
    mean = made.CURVE
    share = (0.6 - mean[0]) / (mean[1] - mean[0])
    assert random.loc[0.6, "labels"] == pytest.approx(1000 + 1000 * share)
    assert random.loc[0.6, "low"] < random.loc[0.6, "labels"] < random.loc[0.6, "high"]


def test_a_first_budget_that_is_enough_is_the_most_that_was_needed(tmp_path):
    """Random has 54 % with the first 1,000 labels; no trial has 90 %."""
    curves = made.curves({"entropy": 0.04})

    def accuracies(*run):
        return (np.array(curves(*run)) + 0.05 * (run[2] == "random")).tolist()

    table = named(tmp_path, made.Grid(accuracies))["labels_needed"]
    at_once = table.data[table.data.labels == 1000]
    assert len(at_once) and set(at_once.strategy) == {"random"}
    shown = table.shown.set_index("strategy").loc["random"]
    targets = [f"{100 * target:.0f} %" for target in at_once.accuracy]
    assert all(shown[target].startswith("≤ 1,000 (≤ 1,000") for target in targets)
    later = table.shown.set_index("strategy").loc["entropy"]
    assert not any(later[target].startswith("≤") for target in targets)


def test_unequal_numbers_of_trials_are_told_beneath(tmp_path):
    said = "Where n is unequal, the gap of two means is not the difference by trial"
    stems = ("accuracy", "summary", "labels_needed")
    for grid, unequal in ((made.unfinished(), True), (made.LARGE, False)):
        found = named(tmp_path / str(unequal), grid)
        assert [said in found[stem].caption for stem in stems] == [unequal] * 3


def test_against_random(tmp_path):
    found = named(tmp_path, made.lost_to_holm())
    table = found["against_random"]
    assert table.data["first"].tolist() == ["entropy", "least_confidence", "margin"]
    margin = table.data.iloc[2]
    assert margin.p == pytest.approx(0.02, abs=1e-4) and not margin.established
    assert margin.p_holm == pytest.approx(3 * margin.p)
    assert margin.label_ratio_low < margin.label_ratio < margin.label_ratio_high
    line = table.shown.iloc[2]
    assert (line["points"], line["95 % interval"]) == ("1.0", "0.3 to 1.7")
    assert (line["p (Holm)"], line["verdict"]) == ("0.060", "not established")
    budgets = found["against_random_by_budget"]
    entropy = budgets.data[(budgets.data.strategy == "entropy")]
    whole = entropy[entropy.model == "all"]
    assert whole["mean"].iloc[0] == 0 and whole["mean"].iloc[1] == pytest.approx(0.1)


def test_random_is_compared_in_one_table_only(whole):
    found = {table.stem: table for table in tables(whole)}
    between = found["strategies"].data
    assert "random" not in {*between["first"], *between["second"]}
    assert len(between[between.part == "all"]) == 6
    assert set(found["against_random"].data["second"]) == {"random"}


def test_family_shows_its_parts(whole):
    (table,) = (table for table in tables(whole) if table.stem == "optimizers")
    assert len(table.data) == 6 * 4
    assert table.shown["comparison"][:4].tolist() == [
        *("SGD − Adam", "\u2003ResNet18", "\u2003ResNet34", "\u2003ResNet50"),
    ]
    parts = table.data[table.data.part != "all"]
    assert parts["p"].isna().all() and parts["p_holm"].isna().all()


def test_many_cells_have_a_table_for_each_strategy(whole):
    found = {table.stem: table for table in tables(whole)}
    assert "accuracy" not in found and len(found["accuracy_margin"].shown) == 12
    assert found["accuracy_margin"].title.endswith("under margin")
    # ResNet34 + SGD is ahead of the eleven others at every budget.
    table = found["accuracy_margin"]
    assert table.best == {(4, column) for column in range(4, 14)}
    assert table.shown.loc[4, ["network", "optimizer"]].tolist() == ["ResNet34", "SGD"]


def test_penalties(whole):
    (setting,) = whole.settings
    matrix = penalties(setting)
    # Twelve pairs; learning loss beats random at nine of ten budgets in each.
    assert matrix.attrs["pairs"] == 12
    assert matrix.loc["learning_loss", "random"] == pytest.approx(12 * 0.9)
    assert matrix.loc["random"].sum() == 0


def test_budget_differences_average_pairs_of_a_trial(whole):
    (setting,) = whole.settings
    found = budget_differences(setting, "optimizer", "sgd", "adam")
    together = found[found.model == "all"]
    assert len(together) == 10 and set(together.n) == {5}
    # Three networks under four strategies, random not among them.
    assert len(found) == 10 * (1 + 12) and "random" not in set(found.strategy)


def test_classes_bought(tmp_path):
    study = study_of(tmp_path, dataclasses.replace(made.LARGE, trials=2))
    found = classes_bought(study.settings[0])
    assert len(found) == 2 * 10 * 10 and set(found.n) == {2}
    assert (found.groupby(["strategy", "cycle"])["share"].sum().round(9) == 1).all()
    some = found[(found.strategy == "entropy") & (found.cycle == 2)]
    rows = [r.rows[1] for r in study.settings[0].done("resnet18", "sgd", "entropy")]
    counts = [np.bincount(row["queried"] % 10, minlength=10) for row in rows]
    np.testing.assert_allclose(some["images"], np.mean(counts, axis=0))
    assert (found["pool_share"] == 0.1).all()


def test_overlap_by_hand(tmp_path):
    (setting,) = study_of(tmp_path, dataclasses.replace(made.LARGE, trials=1)).settings
    one, two = (
        {
            i
            for row in setting.done("resnet18", "sgd", s)[0].rows[1:]
            for i in row["queried"]
        }
        for s in ("random", "entropy")
    )
    found = overlap(setting)
    assert found.loc["random", "entropy"] == len(one & two) / len(one | two)
    assert found.loc["random", "random"] == 1 and found.attrs["n"] == 1


def test_overlap_of_those_that_met_while_another_is_under_way(tmp_path):
    plain = made.curves({})
    begun = lambda *run: plain(*run)[: 3 if run[2] == "badge" else None]  # noqa: E731
    grid = made.Grid(begun, strategies=("random", "entropy", "badge"), trials=4)
    (setting,) = study_of(tmp_path, grid).settings
    found = overlap(setting)
    assert found.attrs["n"] == 4 and np.isnan(found.loc["random", "badge"])
    assert found.loc["random", "entropy"] >= 0


def test_costs(whole):
    (setting,) = whole.settings
    found = costs(setting).set_index(["model", "optimizer", "strategy"])
    line = found.loc[("resnet34", "sgd", "learning_loss")]
    assert line.train_seconds == pytest.approx(1.9 * 1100)
    assert line.compile_seconds == pytest.approx(38) and line.n == 5
    assert line.query_seconds == pytest.approx(95)
    assert line.front
    assert not found.loc[("resnet50", "adam", "random")].front


def test_what_was_not_recorded_is_said(tmp_path):
    older = dataclasses.replace(made.LARGE, older=True)
    found = named(tmp_path, older)
    assert "calibration" not in found and "classes_bought" not in found
    (setting,) = study_of(tmp_path, older).settings
    assert list(classes_bought(setting).columns)[-1] == "pool_share"
    assert classes_bought(setting).empty


def test_calibration(tmp_path):
    table = named(tmp_path, made.LARGE)["calibration"]
    accuracy = np.mean(
        [made.LARGE.accuracies("", "", "random", t)[0] for t in range(1, 6)]
    )
    assert table.data["mean"].iloc[0] == pytest.approx(0.05 + 0.1 * (1 - accuracy))
    assert table.shown.loc[0, "1,000"] == "10.2 ± 0.3"


@pytest.mark.parametrize(
    "grid",
    [
        made.Grid(made.curves({}, cycles=1), cycles=1),
        made.Grid(made.curves({}), trials=1, strategies=("margin",)),
        made.Grid(lambda *cell: made.LARGE.accuracies(*cell)[:2]),
        made.unfinished(),
        made.collapsed(),
        dataclasses.replace(made.LARGE, trials=1, older=True, classes=["<b>", "a"]),
    ],
    ids=["one cycle", "one run", "unfinished", "failed", "collapsed", "classes"],
)
def test_tables_of_unusual_studies(tmp_path, grid):
    for table in named(tmp_path / "runs", grid).values():
        assert all(isinstance(c, str) for c in table.shown.to_numpy().ravel()), (
            table.stem
        )
        assert not table.shown.map(lambda text: "nan" in text.lower()).any(axis=None)
        path = write_csv(table, tmp_path)
        if len(table.data):
            back = pd.read_csv(path)
            assert list(back.columns) == list(table.data.columns)
            assert len(back) == len(table.data)


def test_files_are_the_same_bytes_when_made_again(tmp_path):
    folder = made.write(tmp_path / "runs", made.collapsed())
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for table in tables(read([folder])):
            write_csv(table, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert len(files) > 8
    for file in files:
        one, two = ((tmp_path / name / file).read_bytes() for name in ("one", "two"))
        assert one == two
    cycles = pd.read_csv(tmp_path / "one/cycles.csv")
    assert len(cycles) == 100 and "confusion" not in cycles
    assert cycles["test_accuracy"].iloc[0] == pytest.approx(
        made.collapsed().accuracies("resnet18", "sgd", "entropy", 1)[0]
    )


def test_settings_have_files_of_their_own(tmp_path):
    folders = [
        made.write(
            tmp_path / str(w), dataclasses.replace(made.LARGE, config={"width": w})
        )
        for w in (8, 16)
    ]
    found = {table.stem: table for table in tables(read(folders))}
    assert found["accuracy_setting_1"].setting == "width 8"
    assert found["accuracy_setting_2"].setting == "width 16"
