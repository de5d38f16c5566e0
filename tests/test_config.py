"""A wrong configuration is refused in one sentence; a right one survives JSON."""

import csv
import json
import math
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional

import pytest

from aljax.config import (
    Augmentation,
    Config,
    Data,
    LossPrediction,
    Schedule,
    check_pool,
    flatten,
    replace,
    validate,
)
from aljax.grid import differences, validate_grid
from aljax.optimizers import OPTIMIZERS, Adam, Sgd

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.py"))


def refusal(config: Config) -> str:
    with pytest.raises(ValueError) as error:
        validate(config)
    message = str(error.value)
    assert "\n" not in message and message.endswith(".")
    return message


def test_default_is_valid():
    validate(Config())


@pytest.mark.parametrize(
    "field, value, nearest",
    [
        ("model", "resnet81", "resnet18"),
        ("optimizer", "adamm", "adam"),
        ("strategy", "entropie", "entropy"),
        ("data.name", "cifar-10", "cifar10"),
        ("precision", "float16", "bfloat16"),
        ("initial_query", "stategy", "strategy"),
        ("reset", "nevver", "never"),
        ("augmentation.padding", "blakc", "black"),
        ("loss_prediction.train", "allways", "always"),
    ],
)
def test_unknown_name_gets_the_nearest_and_all(field, value, nearest):
    message = refusal(replace(Config(), field, value))
    assert f"--config.{field}: unknown value {value!r}" in message
    assert f"did you mean {nearest!r}?" in message
    assert "Choose one of: " in message


def test_unknown_name_that_is_near_to_none():
    message = refusal(Config(model="vgg"))
    assert "did you mean" not in message
    for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        assert name in message


AT_LEAST_1 = [
    "width",
    "epochs",
    "batch_size",
    "trials",
    "cycles",
    "initial",
    "budget",
    "score_batch_size",
    "data.image_size",
    "pool_subset",
]
AT_LEAST_0 = [
    "seed",
    "checkpoint_seconds",
    "augmentation.crop_padding",
    "schedule.factor",
    "loss_prediction.weight",
    "loss_prediction.margin",
    "loss_prediction.detach_epoch",
]


@pytest.mark.parametrize("value", [0, -3])
@pytest.mark.parametrize("field", AT_LEAST_1)
def test_count_below_one(field, value):
    message = refusal(replace(Config(), field, value))
    assert f"--config.{field}: {value} is too small" in message
    assert "at least 1" in message


@pytest.mark.parametrize("field", AT_LEAST_0)
def test_number_below_zero(field):
    message = refusal(replace(Config(), field, -1))
    assert f"--config.{field}: -1 is too small" in message and "zero or more" in message
    validate(replace(Config(), field, 0))


@pytest.mark.parametrize(
    "config, field",
    [
        (
            Config(schedule=Schedule(milestones=(10, -1))),
            "--config.schedule.milestones",
        ),
        (
            Config(optimizers={"sgd": Sgd(learning_rate=-0.1)}),
            "--config.optimizers.sgd.learning_rate",
        ),
        (
            Config(optimizers={"sgd": Sgd(learning_rate=float("nan"))}),
            "--config.optimizers.sgd.learning_rate",
        ),
    ],
    ids=["milestones", "learning rate", "nan"],
)
def test_number_inside_a_setting(config, field):
    assert refusal(config).startswith(f"{field}: ")


@pytest.mark.parametrize(
    "field, value, shown",
    [
        ("model", 18, "str"),
        ("width", 64.0, "int"),
        ("width", True, "int"),
        ("epochs", "200", "int"),
        ("seed", None, "int"),
        ("pool_subset", "all", "int | None"),
        ("data.path", 3, "str | None"),
        ("augmentation.flip", 1, "bool"),
        ("loss_prediction.weight", "1", "float"),
        ("loss_prediction.margin", True, "float"),
        ("schedule.milestones", 160, "tuple[int, ...]"),
        ("schedule.milestones", (0.5,), "tuple[int, ...]"),
        ("sweep", ["strategy"], "dict"),
    ],
)
def test_wrong_type(field, value, shown):
    message = refusal(replace(Config(), field, value))
    assert f"--config.{field}: {value!r} is of the wrong type" in message
    assert shown in message


@pytest.mark.parametrize(
    "field", ["data", "augmentation", "schedule", "loss_prediction"]
)
def test_section_of_the_wrong_type(field):
    expected = type(getattr(Config(), field)).__name__
    message = refusal(replace(Config(), field, "x"))
    assert message == f"--config.{field}: 'x' is not a {expected}."


def test_optimizer_settings():
    message = refusal(Config(optimizers={"sgd": Sgd(), "adamm": Adam()}))
    assert "--config.optimizers: unknown value 'adamm'; did you mean 'adam'?" in message
    message = refusal(Config(optimizers={"sgd": Adam()}))
    assert "--config.optimizers.sgd: Adam(" in message and "is not a Sgd." in message
    message = refusal(Config(optimizers={"sgd": Sgd(nesterov="yes")}))
    assert "--config.optimizers.sgd.nesterov: 'yes' is of the wrong type" in message


def test_optimizer_without_settings_is_refused():
    message = refusal(Config(optimizer="adamw", optimizers={"sgd": Sgd()}))
    assert "adamw" in message and "--config.optimizers" in message


def test_optimizers_that_are_no_dict_are_refused():
    assert "--config.optimizers: " in refusal(Config(optimizers=Sgd()))


@pytest.mark.parametrize("seed", [2**32, 10**20])
def test_seed_beyond_32_bits_is_refused(seed):
    # A key keeps 32 bits: 2**32 would silently be the seed 0 again.
    assert f"--config.seed: {seed}" in refusal(Config(seed=seed))
    validate(Config(seed=2**32 - 1))


def test_nothing_left_to_train_on():
    message = refusal(Config(initial=500, validation=500))
    assert "--config.validation: 500" in message and "500 initial labels" in message
    validate(Config(initial=500, validation=499))


def test_held_out_images_are_not_those_of_earlier_trials():
    message = refusal(Config(initial=500, validation=200, reset="never"))
    assert "--config.validation: the 200 images" in message and "reset=never" in message
    validate(Config(initial=500, validation=200, reset="trial"))
    validate(Config(initial=500, validation=200, reset="never", trials=1))


def test_held_out_images_are_a_sample_of_the_pool():
    config = Config(initial=500, validation=200, initial_query="strategy")
    message = refusal(replace(config, "strategy", "margin"))
    assert "those that margin chooses" in message
    validate(replace(config, "strategy", "random"))


def test_settings_of_somebodys_own_optimizer_are_their_business(monkeypatch):
    @dataclass
    class Own:
        learning_rate: float = 0.1
        power: float = -0.8
        clip: Optional[float] = math.inf  # noqa: UP045
        mode: Literal["a", "b"] = "a"
        extra: Any = None

    monkeypatch.setitem(OPTIMIZERS, "own", Own)
    config = Config()
    config.optimizers["own"] = Own()
    validate(config)
    config.optimizers["own"] = Own(mode="c", clip="none")
    assert "own.clip: 'none' is of the wrong type; it must be a number" in (
        refusal(config)
    )
    config.optimizers["own"] = Own(learning_rate=-1.0)
    assert "learning_rate: -1.0 is too small" in refusal(config)


def test_pool_subset_below_the_budget():
    message = refusal(Config(budget=500, pool_subset=499))
    assert "--config.pool_subset: 499" in message
    assert "budget of 500" in message and "none" in message
    validate(Config(budget=500, pool_subset=500))
    validate(Config(budget=500, pool_subset=None))


def test_pool_must_last():
    config = Config(cycles=4, initial=100, budget=50, data=Data("cifar10"))
    check_pool(config, 250)
    with pytest.raises(ValueError) as error:
        check_pool(config, 249)
    message = str(error.value)
    assert message.startswith("--config.cycles: 4 cycles buy 250 labels")
    assert "initial 100 + 3 x budget 50" in message
    assert "cifar10 has 249" in message and "lower cycles" in message


def test_replace_copies():
    config = Config()
    new = replace(config, "optimizers.sgd.learning_rate", 0.5)
    new = replace(new, "schedule.milestones", (3,))
    assert config == Config()
    assert new.optimizers["sgd"].learning_rate == 0.5
    assert new.schedule.milestones == (3,)


def test_flatten_names_every_field_as_the_command_line_does():
    flat = flatten(Config(augmentation=Augmentation(2), sweep={"seed": (0, 1)}))
    assert flat["augmentation.crop_padding"] == 2
    assert flat["optimizers.rmsprop.decay"] == 0.99
    assert flat["schedule.milestones"] == [160]
    assert flat["sweep"] == {"seed": (0, 1)}
    assert "data" not in flat and "optimizers.sgd" not in flat


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config(schedule=Schedule(milestones=()), pool_subset=None),
        Config(sweep={"strategy": ("random",), "pool_subset": (None, 5000)}),
        Config(loss_prediction=LossPrediction(weight=1), checkpoint_seconds=0),
    ],
    ids=["default", "empty", "grid", "integers"],
)
def test_json_does_not_make_it_another_experiment(config):
    flat = flatten(config)
    assert differences(json.loads(json.dumps(flat)), flat) == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_recipe(path):
    module = runpy.run_path(str(path))
    validate_grid(module["get_config"]())
    assert "Command: python launch.py" in module["__doc__"]


def test_recipes_take_every_optimizer():
    for path in CONFIGS:
        optimizers = runpy.run_path(str(path))["get_config"]().optimizers
        assert optimizers.keys() == OPTIMIZERS.keys(), path.stem


STUDY = runpy.run_path(str(CONFIGS[0].with_name("cifar10_study.py")))


@pytest.mark.parametrize("part", STUDY["PARTS"])
def test_part_of_the_study(part):
    config = STUDY["get_config"](part)
    validate_grid(config)
    authors = {name: vars(make()) for name, make in OPTIMIZERS.items()}
    own = {name: vars(settings) for name, settings in config.optimizers.items()}
    assert (own == authors) is (part == "authors")
    for name in ("sgd", "adam", "adamw", "rmsprop"):
        rate = own[name].pop("learning_rate"), authors[name].pop("learning_rate")
        assert own[name] == authors[name]  # what was not searched
        assert part == "authors" or rate[0] == STUDY["RATES"][config.model][name]


def test_the_study_takes_the_best_rates_that_were_tried():
    path = CONFIGS[0].parent.parent / "benchmarks" / "study" / "tuning.csv"
    with path.open(newline="") as file:
        best = [
            line for line in csv.DictReader(file) if line["note"].startswith("best")
        ]
    found: dict[str, dict[str, float]] = {}
    for line in best:
        rate = float(line["settings"].removeprefix("learning rate "))
        network, optimizer = line["network"].lower(), line["optimizer"].lower()
        found.setdefault(network, {})[optimizer] = rate
    assert found == STUDY["RATES"]


def test_no_part_of_the_study():
    with pytest.raises(ValueError, match="no part 'resnet19'; choose one of resnet18,"):
        STUDY["get_config"]("resnet19")
