"""Grids: which runs there are, where they live, and whose they are."""

import json

import pytest

from aljax.config import Config, Schedule, flatten, replace
from aljax.grid import differences, expand, shard, validate_grid

GRID = Config(
    trials=2,
    sweep={"optimizer": ("sgd", "adam"), "strategy": ("random", "margin", "entropy")},
)
SGD, ADAM = (f"optimizers.{name}.learning_rate" for name in ("sgd", "adam"))
RATES = Config(
    sweep={"optimizer": ("sgd", "adam"), SGD: (0.1, 0.2), ADAM: (0.01, 0.02)}
)


def folders(config: Config) -> list[str]:
    return [run.folder for group in expand(config) for run in group]


def test_one_member():
    assert folders(Config(trials=2)) == [
        "resnet18/sgd/learning_loss/trial_1",
        "resnet18/sgd/learning_loss/trial_2",
    ]


def test_members_of_a_grid():
    runs = [run for group in expand(GRID) for run in group]
    assert [run.folder for run in runs] == [
        f"resnet18/{optimizer}/{strategy}/trial_{trial}"
        for optimizer in ("sgd", "adam")
        for strategy in ("random", "margin", "entropy")
        for trial in (1, 2)
    ]
    last = runs[-1]
    assert (last.config.optimizer, last.config.strategy) == ("adam", "entropy")
    assert last.trial == 2 and last.config.sweep == {}


def test_fields_that_name_no_folder_get_one_of_their_own():
    config = Config(
        trials=1,
        sweep={"width": (8, 16), "model": ("resnet34",), "pool_subset": (None,)},
    )
    assert folders(config) == [
        "width=8,pool_subset=None/resnet34/sgd/learning_loss/trial_1",
        "width=16,pool_subset=None/resnet34/sgd/learning_loss/trial_1",
    ]


def test_settings_are_swept_where_their_optimizer_is_used():
    rates = {"optimizers.sgd.learning_rate": (0.1, 0.01)}
    rates |= {"optimizers.adam.learning_rate": (0.001,)}
    config = Config(trials=1, sweep=rates | {"optimizer": ("adam", "sgd", "adamw")})
    validate_grid(config)
    assert folders(config) == [
        "optimizers.adam.learning_rate=0.001/resnet18/adam/learning_loss/trial_1",
        "optimizers.sgd.learning_rate=0.1/resnet18/sgd/learning_loss/trial_1",
        "optimizers.sgd.learning_rate=0.01/resnet18/sgd/learning_loss/trial_1",
        "resnet18/adamw/learning_loss/trial_1",
    ]
    runs = [run.config.optimizers for group in expand(config) for run in group]
    assert [own["sgd"].learning_rate for own in runs] == [0.1, 0.1, 0.01, 0.1]
    assert [own["adam"].learning_rate for own in runs] == [0.001, 1e-4, 1e-4, 1e-4]
    grown = replace(config, "sweep", config.sweep | {"optimizer": ("sgd", "adam")})
    assert compare(config, grown) == []


def test_trials_that_inherit_weights_stay_together():
    groups = expand(Config(trials=3, sweep={"reset": ("cycle", "never")}))
    assert [len(group) for group in groups] == [1, 1, 1, 3]
    assert [run.trial for run in groups[-1]] == [1, 2, 3]
    assert all(run.leaky for run in groups[-1])
    assert not any(run.leaky for group in groups[:-1] for run in group)


def test_what_a_run_says_of_itself():
    config = Config(epochs=3, cycles=4, initial=10, budget=5, trials=1)
    ((run,),) = expand(config)
    assert run.training_images == 3 * (10 + 15 + 20 + 25)
    assert run.label == "ResNet18 + SGD"
    leaky = replace(replace(config, "reset", "never"), "optimizer", "rmsprop")
    assert expand(leaky)[0][0].label == "ResNet18 + RMSProp (leaky)"


@pytest.mark.parametrize("parts", range(1, 6))
def test_shards_share_out_every_group_once(parts):
    groups = expand(GRID)
    shards = [shard(groups, f"{k}/{parts}") for k in range(1, parts + 1)]
    shared = [run.folder for part in shards for (run,) in part]
    assert sorted(shared) == sorted(folders(GRID))
    sizes = [len(part) for part in shards]
    assert max(sizes) - min(sizes) <= 1


def test_no_shard_is_everything():
    assert shard([1, 2, 3], None) == [1, 2, 3]
    assert shard([1, 2, 3], "4/5") == []


@pytest.mark.parametrize(
    "text", ["9/8", "0/8", "-1/8", "3", "3/8/9", "a/b", "1/0", "", "1.5/2", "/"]
)
def test_bad_shard(text):
    with pytest.raises(ValueError) as error:
        shard([1], text)
    assert str(error.value) == (
        f"--shard={text}: write K/N with 1 <= K <= N, "
        "for example --shard=3/8 for the third of eight."
    )


@pytest.mark.parametrize(
    "sweep, texts",
    [
        ({"stratgy": ("random",)}, ["--config.sweep", "'stratgy'", "mean 'strategy'?"]),
        ({"trials": (1, 2)}, ["'trials' cannot be swept; set it", "--config.trials"]),
        ({"strategy": "random"}, ["--config.sweep", "'random'", "list of values"]),
        ({"strategy": ()}, ["--config.sweep", "()", "list of values"]),
        ({"seed": (1, 2, 1)}, ["--config.sweep: 'seed'", "twice", "(1, 2, 1)"]),
        ({"optimizers.sgd.learning_rate": (1, 1.0)}, ["learning_rate'", "twice"]),
        ({"optimizers.sgd.learning_rat": (1,)}, ["mean 'optimizers.sgd.learning_rate"]),
        ({"optimizers.sgd.learning_rate": (0.1, -1.0)}, ["learning_rate: -1.0 is too"]),
        (
            {"optimizers.adam.learning_rate": (0.1,)},
            ["'optimizers.adam.learning_rate'", "no run uses; leave", "(now sgd)"],
        ),
        ({"strategy": ("random", "x")}, ["--config.strategy", "'x'", "Choose one of"]),
        ({"width": (8, 0)}, ["--config.width: 0", "at least 1"]),
        ({"width": (8, "16")}, ["--config.width: '16'", "a whole number (int)"]),
        ({"budget": (1000, 20_000)}, ["--config.pool_subset: 10000", "20000"]),
        ({"model": (["resnet18"],)}, ["resnet18"]),
    ],
)
def test_bad_grid(sweep, texts):
    with pytest.raises(ValueError) as error:
        validate_grid(Config(sweep=sweep))
    for text in texts:
        assert text in str(error.value)


def test_a_value_that_every_member_replaces_is_not_judged():
    validate_grid(Config(budget=20_000, sweep={"budget": (500, 1000)}))
    with pytest.raises(ValueError, match="20000"):
        validate_grid(Config(budget=20_000, sweep={"epochs": (1, 2)}))


def test_grid_that_is_no_dict():
    with pytest.raises(ValueError, match=r"--config\.sweep: \('strategy',\) is not a"):
        validate_grid(Config(sweep=("strategy",)))


def compare(old: Config, new: Config) -> list[str]:
    """As a second start does: the old configuration comes from a JSON file."""
    return differences(json.loads(json.dumps(flatten(old))), flatten(new))


@pytest.mark.parametrize(
    "old, new",
    [
        (GRID, GRID),
        (Config(trials=1), Config(trials=5)),
        (Config(), Config(checkpoint_seconds=1.0)),
        (Config(), replace(Config(), "data.path", "elsewhere")),
        (GRID, replace(GRID, "sweep", GRID.sweep | {"optimizer": ("sgd",)})),
        (GRID, Config(trials=2, optimizer="adam", strategy="margin")),
        (replace(GRID, "sweep", GRID.sweep | {"optimizer": ["sgd"]}), GRID),
        (Config(strategy="random"), GRID),
        (Config(sweep={"seed": (0, 1)}), Config(sweep={"seed": (1, 0, 2)})),
        (RATES, Config(sweep={SGD: (0.1, 0.2)})),
        (Config(sweep={SGD: (0.1, 0.2)}), RATES),
    ],
    ids=[
        "same",
        "trials",
        "checkpoints",
        "path",
        "shrunk",
        "one member",
        "grown",
        "grown from one",
        "reordered",
        "one optimizer's rates",
        "another optimizer's rates",
    ],
)
def test_same_experiment(old, new):
    assert compare(old, new) == []


def test_contradictions_are_named_with_both_values():
    old = Config(epochs=200, strategy="random")
    new = Config(epochs=100, strategy="entropy", schedule=Schedule((80,)))
    assert compare(old, new) == [
        "epochs (200 there, 100 here)",
        "schedule.milestones ([160] there, [80] here)",
        "strategy (random there, entropy here)",
    ]


@pytest.mark.parametrize(
    "old, new, found",
    [
        # Its folder has another name in a grid, so it cannot go on.
        (Config(width=8), Config(sweep={"width": (8, 16)}), ["width"]),
        (Config(sweep={"seed": (0, 1)}), Config(sweep={"seed": (1, 2)}), ["seed"]),
        (GRID, replace(GRID, "sweep", {"strategy": ("learning_loss",)}), ["strategy"]),
        (GRID, replace(GRID, "model", "resnet34"), ["model"]),
        (RATES, Config(sweep={SGD: (0.1, 0.3)}), [SGD]),
        (RATES, Config(optimizer="adam"), [ADAM]),
    ],
    ids=["one becomes many", "overlap", "other", "not in the grid", "rates", "rate"],
)
def test_grids_that_contradict(old, new, found):
    assert [text.split()[0] for text in compare(old, new)] == found


@pytest.mark.parametrize("default", [True, False])
def test_field_that_an_older_version_lacks_counts_as_its_default(default):
    old = flatten(GRID)
    del old["augmentation.padding"]
    new = GRID if default else replace(GRID, "augmentation.padding", "mean")
    found = [] if default else ["augmentation.padding (black there, mean here)"]
    assert differences(old, flatten(new)) == found


def test_field_of_another_version_is_named():
    old = flatten(Config()) | {"gone": 3}
    assert differences(old, flatten(Config())) == ["gone (3 there, None here)"]
