"""Warnings fire on what they are for, and are silent on clean runs."""

import dataclasses
import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from aljax.config import flatten
from aljax.optimizers import OPTIMIZERS
from aljax.report.fairness import RECIPES
from aljax.report.honesty import doubts
from aljax.report.runs import read
from tests.support import made_up_runs as made

CONFIGS = Path(__file__).parents[2] / "configs"
# Test accuracy at 1,000 labels in trials 1 to 5 of the results that the study's authors
# published (KSM-16/ML-Project-6321 at 216606f): trials 2 to 5 of Adam one by one, the
# others as the mean of their trials.
PUBLISHED = {
    ("resnet18", "sgd"): (0.4155, 0.7646, 0.7646, 0.7646, 0.7646),
    ("resnet50", "sgd"): (0.4101, 0.761, 0.752, 0.755, 0.759),
    ("resnet18", "adam"): (0.5054, 0.792, 0.841, 0.861, 0.869),
    ("resnet50", "adam"): (0.4364, 0.8265, 0.8265, 0.8265, 0.8265),
}


def fired(tmp_path, *grids) -> dict[str, str]:
    folders = [made.write(tmp_path / str(i), grid) for i, grid in enumerate(grids)]
    return said(read(folders))


def said(study) -> dict[str, str]:
    found = doubts(study)
    assert len({doubt.text for doubt in found}) == len(found)
    return {doubt.kind: doubt.text for doubt in found}


@pytest.mark.parametrize(
    "grid",
    [
        *(made.LARGE, made.NONE, made.ONLY_PAIRED, made.lost_to_holm()),
        made.whole_study(),
        dataclasses.replace(made.LARGE, older=True),
        dataclasses.replace(made.LARGE, config={"initial_query": "strategy"}),
    ],
    ids=["large", "none", "paired", "holm", "study", "older", "strategy"],
)
def test_clean_runs_raise_no_doubt(tmp_path, grid):
    assert fired(tmp_path, grid) == {}


def test_grid_that_sweeps_a_field_on_purpose_raises_no_doubt(tmp_path):
    for width in (8, 16):
        grid = dataclasses.replace(made.LARGE, config={"width": width})
        made.write(tmp_path / f"width={width}", grid)
        config = json.loads((tmp_path / f"width={width}/config.json").read_text())
        (tmp_path / f"width={width}/config.json").unlink()
    lists = config["grids"][0] | {"width": [8, 16]}
    (tmp_path / "config.json").write_text(json.dumps(config | {"grids": [lists]}))
    study = read([tmp_path])
    assert len(study.settings) == 2 and said(study) == {}


def test_published_pattern_of_the_leak(tmp_path):
    """Trial 1 begins at 38 to 52 %, trials 2 to 5 at 73 to 89 %."""

    def accuracies(model, optimizer, strategy, trial):
        first = PUBLISHED[model, optimizer][trial - 1]
        return np.linspace(first, 0.89, 10).tolist()

    grid = made.Grid(
        accuracies,
        models=("resnet18", "resnet50"),
        optimizers=("sgd", "adam"),
        strategies=("learning_loss",),
    )
    found = doubts(read([made.write(tmp_path, grid)]))
    assert [d.kind for d in found] == ["too good", "jump", "jump", "jump"]
    assert found[0].text.startswith(
        "16 runs of CIFAR-10 reach up to 86.9 % with 1,000 labels or fewer; from "
        "scratch 46 to 51 % is usual, and more than 60 % means that labels leak"
    )
    assert found[1].text == (
        "ResNet18 + SGD, learning loss: trial 1 begins at 41.6 %, later ones at 76.5 % "
        "with the same number of labels; later trials seem to begin with what earlier "
        "ones have learned, as in the results that the study's authors published."
    )
    assert "(And 1 more like this.)" in found[3].text


def test_run_of_the_recipe_that_leaks(tmp_path):
    recipe = flatten(runpy.run_path(str(CONFIGS / "report_leak.py"))["get_config"]())
    config = {"reset": recipe["reset"], "trials": recipe["trials"]}
    found = fired(tmp_path, dataclasses.replace(made.LEAK, config=config))
    assert list(found) == ["leaky", "too good", "jump"]
    assert found["leaky"].startswith(
        "5 runs of 5 are leaky: weights, and what they know"
    )
    assert "reset=never" in found["leaky"]


@pytest.mark.parametrize(("accuracy", "fires"), [(0.599, False), (0.601, True)])
def test_more_than_60_percent_of_cifar10_at_1000_labels(tmp_path, accuracy, fires):
    grid = made.Grid(lambda *cell: np.linspace(accuracy, 0.9, 10) + 1e-5 * cell[3])
    assert ("too good" in fired(tmp_path / "a", grid)) is fires
    folder = {"data.name": "image_folder"}
    renamed = dataclasses.replace(grid, config=folder)
    assert ("too good" in fired(tmp_path / "b", renamed)) is fires
    other = dataclasses.replace(renamed, classes=[f"class {i}" for i in range(10)])
    assert "too good" not in fired(tmp_path / "c", other)


def test_first_cycles_that_differ(tmp_path):
    found = fired(tmp_path, made.other_starts())
    assert list(found) == ["first cycles"]
    assert "differ in 5 of 5 cases" in found["first cycles"]
    assert "entropy 51.60 %, random 51.10 %" in found["first cycles"]


@pytest.mark.parametrize(
    ("config", "kinds"),
    [
        ({"loss_prediction.train": "needed"}, []),
        ({"initial_query": "strategy"}, []),
        ({"reset": "never"}, ["leaky"]),
    ],
)
def test_first_cycles_that_may_differ(tmp_path, config, kinds):
    grid = dataclasses.replace(made.other_starts(), config=config)
    assert list(fired(tmp_path, grid)) == kinds


def test_first_cycles_of_a_network_with_dropout(tmp_path):
    folder = made.write(tmp_path, made.other_starts())
    for path in folder.glob("resnet18/sgd/entropy/trial_*/config.json"):
        about = json.loads(path.read_text()) | {"dropout": 0.5}
        path.write_text(json.dumps(about))
    assert said(read([folder])) == {}


def test_first_cycles_of_other_images(tmp_path):
    folder = made.write(tmp_path, made.LARGE)
    path = folder / "resnet18/sgd/entropy/trial_2/cycles.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    row = json.loads(first)
    row["queried"][0] += 1
    path.write_text(json.dumps(row) + "\n" + "".join(rest))
    found = said(read([folder]))
    assert list(found) == ["first cycles"]
    assert "different images in 1 of 5 cases" in found["first cycles"]


def test_collapsed_trial(tmp_path):
    found = fired(tmp_path, made.collapsed())
    assert list(found) == ["collapsed"]
    assert (
        "entropy, trial 3 falls from 72.6 % to 10.0 % in cycle 4" in found["collapsed"]
    )


def test_noise_around_chance_is_no_collapse(tmp_path):
    grid = made.Grid(
        lambda *cell: [0.124 + 1e-3 * cell[3], 0.117, 0.06], trials=3, cycles=3
    )
    assert fired(tmp_path, grid) == {}


def test_trial_that_never_learned(tmp_path):
    plain = made.LARGE.accuracies

    def accuracies(*cell):
        broken = cell[2] == "random" and cell[3] == 4
        return [plain(*cell)[0], *[0.3] * 9] if broken else plain(*cell)

    found = fired(tmp_path, made.Grid(accuracies))
    assert list(found) == ["collapsed"]
    assert "random, trial 4 ends at 30.0 %, its other trials at" in found["collapsed"]


def test_copies_of_a_trial(tmp_path):
    folder = made.write(tmp_path, made.LARGE)
    one, two = (folder / f"resnet18/sgd/random/trial_{t}/cycles.jsonl" for t in (1, 2))
    two.write_text(one.read_text().replace('"trial": 1,', '"trial": 2,'))
    found = said(read([folder]))
    assert "trial 2" in found["copies"] and "as trial 1" in found["copies"]


def test_missing_failed_and_unequal_trials(tmp_path):
    found = fired(tmp_path, made.unfinished())
    assert list(found) == ["unequal trials", "failed", "unfinished"]
    assert "of 5 trials, ResNet18 + SGD, entropy has 3." in found["unequal trials"]
    assert found["failed"] == (
        "1 of 10 runs failed, and their trials are left out of comparisons "
        "(resnet18/sgd/entropy/trial_2: the loss is not a finite number in cycle 5, "
        "epoch 3)."
    )
    assert "1 never begun (resnet18/sgd/entropy/trial_5)" in found["unfinished"]


def test_a_run_copied_from_more_trials_asks_for_no_more_of_them(tmp_path):
    folder = made.write(tmp_path, dataclasses.replace(made.LARGE, trials=3))
    about = folder / "resnet18" / "sgd" / "random" / "trial_1" / "config.json"
    told = json.loads(about.read_text())
    told["config"]["trials"] = 5
    about.write_text(json.dumps(told))
    assert not read([folder]).planned
    shutil.copytree(about.parent, about.parent.with_name("trial_4"))  # one of more
    assert len(read([folder]).planned) == 3


@pytest.mark.parametrize(("trials", "many"), [(1, "1 trial"), (2, "2 trials")])
def test_few_trials(tmp_path, trials, many):
    found = fired(tmp_path, dataclasses.replace(made.LARGE, trials=trials))
    assert list(found) == ["few trials"]
    assert found["few trials"].startswith(f"No more than {many} of anything")


def test_few_trials_of_one_cell(tmp_path):
    plain = made.LARGE.accuracies

    def accuracies(*cell):
        return None if cell[2] == "entropy" and cell[3] > 2 else plain(*cell)

    found = fired(tmp_path, made.Grid(accuracies))
    assert found["few trials"].startswith(
        "1 cell of 2 with fewer than 3 finished trials"
    )


@pytest.mark.parametrize(
    ("about", "kind", "text"),
    [
        ({"device": "8 x cpu"}, "device", "device 1 x NVIDIA H100 (5 runs), 8 x cpu"),
        ({"processes": 2}, "device", "processes 1 (5 runs), 2 (5 runs)"),
        ({"commit": "feed"}, "software", "commit 0123456789ab (5 runs), feed (5 runs)"),
        ({"commit": None}, "software", "not recorded (5 runs)"),
        (
            {"versions": {"aljax": "0.1.0", "jax": "0.11", "python": "3.11.7"}},
            "software",
            "jax 0.10.2 (5 runs), 0.11 (5 runs)",
        ),
    ],
)
def test_different_software_or_device_in_one_comparison(tmp_path, about, kind, text):
    one = dataclasses.replace(made.LARGE, strategies=("random",))
    two = dataclasses.replace(made.LARGE, strategies=("entropy",), about=about)
    found = fired(tmp_path, one, two)
    assert list(found) == [kind] and text in found[kind]


def test_software_between_settings_is_told_beside_a_device_inside_one(tmp_path):
    odd = dataclasses.replace(
        made.LARGE, strategies=("random",), about={"device": "8 x cpu"}
    )
    even = dataclasses.replace(made.LARGE, strategies=("entropy",))
    versions = {"aljax": "0.1.0", "jax": "0.11", "python": "3.11.7"}
    other = dataclasses.replace(
        made.LARGE, config={"width": 16}, about={"versions": versions}
    )
    found = fired(tmp_path, odd, even, other)
    assert "jax 0.10.2 (10 runs), 0.11 (10 runs)" in found["software"]
    assert "8 x cpu (5 runs)" in found["device"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"config": {"precision": "bfloat16"}},
            "Runs differ in precision and are told",
        ),
        ({"about": {"data_fingerprint": "beef" * 16}}, "Runs differ in images and are"),
        (
            {"config": {"budget": 500}},
            "Runs differ in budget and are told in 2 settings",
        ),
        (
            {"config": {"optimizers.sgd.learning_rate": 0.01}},
            "Runs differ in SGD learning rate and are told",
        ),
    ],
)
def test_different_settings_are_told_apart_and_said_to_be(tmp_path, changes, text):
    found = fired(tmp_path, made.LARGE, dataclasses.replace(made.LARGE, **changes))
    assert list(found) == ["settings"] and text in found["settings"]


def test_learning_rates_tuned_for_one_side_only(tmp_path):
    both = dataclasses.replace(
        made.LARGE,
        accuracies=made.curves({"adam": 0.01, "entropy": 0.02}),
        optimizers=("sgd", "adam"),
    )
    tuned = {"optimizers.adam.learning_rate": 0.003}
    found = fired(tmp_path / "one", dataclasses.replace(both, config=tuned))
    assert list(found) == ["tuned"]
    assert found["tuned"].startswith(
        "Adam has learning rate 0.003 instead of 0.0001, while SGD is as in the"
    )
    alike = tuned | {"optimizers.adamw.learning_rate": 0.003}
    three = dataclasses.replace(both, optimizers=("sgd", "adam", "adamw"), config=alike)
    said = fired(tmp_path / "alike", three)["tuned"]
    assert said.startswith("Adam and AdamW have learning rate 0.003 instead of 0.0001")
    every = tuned | {"optimizers.sgd.learning_rate": 0.05}
    assert fired(tmp_path / "two", dataclasses.replace(both, config=every)) == {}
    alone = dataclasses.replace(made.LARGE, config=every)
    assert fired(tmp_path / "three", alone) == {}


def test_recipes_are_those_of_the_optimizers():
    for name, recipe in RECIPES.items():
        defaults = vars(OPTIMIZERS[name]())
        assert recipe == {field: defaults[field] for field in recipe}
    assert RECIPES.keys() == OPTIMIZERS.keys() - {"adam_sgd"}  # not in the study


def test_reading_is_doubted_too_and_settings_are_named(tmp_path):
    folders = [
        made.write(
            tmp_path / str(i), dataclasses.replace(grid, config={"width": width})
        )
        for i, (grid, width) in enumerate([(made.LARGE, 8), (made.collapsed(), 16)])
    ]
    path = folders[0] / "resnet18/sgd/random/trial_1/cycles.jsonl"
    path.write_text(path.read_text()[:-20])
    found = said(read(folders))
    assert found["collapsed"].startswith("width 16: ResNet18 + SGD, entropy, trial 3")
    assert found["reading"].startswith(str(path))
