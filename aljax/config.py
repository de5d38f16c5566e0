"""What an experiment is: typed fields and their validation."""

import copy
import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import Any

from aljax.augment import PADDINGS
from aljax.data import DATASETS, Data
from aljax.limits import check_number, limits_of
from aljax.lookup import check_name, lookup
from aljax.models import MODELS
from aljax.optimizers import OPTIMIZERS
from aljax.strategies import FISHERS, NOISES, STRATEGIES, Options

PRECISIONS = ("float32", "bfloat16")
INITIAL_QUERIES = ("random", "strategy")
RESETS = ("cycle", "trial", "never")
LOSS_PREDICTION_TRAIN = ("always", "needed")


@dataclass
class Augmentation:
    """What training does to each image, every time it is seen."""

    crop_padding: int = 4  # pixels around the image before the random crop
    padding: str = "black"  # their colour; "mean": the pool's, 0 once normalised
    flip: bool = True  # mirror left and right with probability 1/2


@dataclass
class Schedule:
    """When the learning rate falls."""

    milestones: tuple[int, ...] = (160,)  # epochs after which it does
    factor: float = 0.1  # what it is multiplied by


@dataclass
class LossPrediction:
    """How the loss prediction module is trained (Yoo & Kweon, CVPR 2019)."""

    train: str = "always"  # or "needed": only if the strategy reads its predictions
    weight: float = 1.0  # λ, of the ranking loss in the joint loss
    margin: float = 1.0  # ξ, in units of the loss
    detach_epoch: int = 120  # epochs after which it no longer moves the network


@dataclass
class Config:
    """An active-learning experiment. Counts are images unless they say otherwise."""

    model: str = "resnet18"
    width: int = 64  # channels of the first stage
    optimizer: str = "sgd"
    strategy: str = "learning_loss"
    epochs: int = 200  # per cycle
    batch_size: int = 128
    precision: str = "float32"  # of the arithmetic: float32 or bfloat16
    trials: int = 5
    cycles: int = 10
    initial: int = 1000  # labels of cycle 1
    budget: int = 1000  # labels bought before each later cycle
    initial_query: str = "random"  # or "strategy": scored by an untrained network
    pool_subset: int | None = (
        10_000  # unlabelled images drawn to choose from; none: all
    )
    # Of the initial labels, how many are never trained on and take the place of the
    # test set, to choose settings by.
    validation: int = 0
    reset: str = "cycle"  # what each cycle starts from: cycle, trial or never
    seed: int = 0
    data: Data = field(default_factory=Data)
    augmentation: Augmentation = field(default_factory=Augmentation)
    schedule: Schedule = field(default_factory=Schedule)
    loss_prediction: LossPrediction = field(default_factory=LossPrediction)
    query: Options = field(default_factory=Options)  # of strategies
    # Settings of every optimizer; `optimizer` picks one.
    optimizers: dict[str, Any] = field(
        default_factory=lambda: {name: make() for name, make in OPTIMIZERS.items()}
    )
    sync_batch_norm: bool = True  # batch statistics over all devices, or each its own
    score_batch_size: int = 512
    checkpoint_seconds: float = 60.0  # time between saves inside a cycle
    # field -> values: the grid, for example {"strategy": ("random", "entropy")}.
    sweep: dict[str, Any] = field(default_factory=dict)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Lists every field by its dotted name, as it is set on the command line."""
    if dataclasses.is_dataclass(config):
        items = [(f.name, getattr(config, f.name)) for f in dataclasses.fields(config)]
    else:
        items = list(config.items())
    flat = {}
    for name, value in items:
        nested = dataclasses.is_dataclass(value) or isinstance(value, dict)
        if nested and name != "sweep":
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat


def replace(config: Config, name: str, value: Any) -> Config:
    """Copies `config` with the field of that dotted name set to `value`."""
    new = copy.deepcopy(config)
    holder: Any = new
    *parents, last = name.split(".")
    for parent in parents:
        nested = isinstance(holder, dict)
        holder = holder[parent] if nested else getattr(holder, parent)
    setattr(holder, last, value)
    return new


def validate(config: Config) -> None:
    """Checks every field of one member of a grid, without touching any data.

    Raises:
        ValueError: names the field, the value, what is allowed and what to do.
    """
    check_types(config, "--config")
    _check_names(config)
    _check_counts(config)
    _check_query(config)


def _check_names(config: Config) -> None:
    values = flatten(config)
    for name, choices in {
        "model": MODELS,
        "optimizer": OPTIMIZERS,
        "strategy": STRATEGIES,
        "data.name": DATASETS,
        "precision": PRECISIONS,
        "initial_query": INITIAL_QUERIES,
        "reset": RESETS,
        "augmentation.padding": PADDINGS,
        "loss_prediction.train": LOSS_PREDICTION_TRAIN,
        "query.noise": NOISES,
        "query.fisher": FISHERS,
    }.items():
        check_name(choices, f"--config.{name}", values[name])
    if config.optimizer not in config.optimizers:
        raise ValueError(
            f"--config.optimizers: there are no settings for {config.optimizer!r}, "
            "which --config.optimizer names; add them to the configuration file."
        )


def _check_counts(config: Config) -> None:
    for name, value in flatten(config).items():
        limits = limits_of(name, config.optimizers)
        if limits is None:
            continue
        least, most = limits
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                check_number(f"--config.{name}", number, least, most)
    switch = getattr(config.optimizers[config.optimizer], "switch_epoch", 0)
    if switch >= config.epochs:
        raise ValueError(
            f"--config.optimizers.{config.optimizer}.switch_epoch: {switch} epochs are "
            f"never over before the end of {config.epochs}, so no step would be of the "
            "second optimizer; lower it, or raise --config.epochs."
        )
    if config.validation >= config.initial:
        raise ValueError(
            f"--config.validation: {config.validation} images cannot be held out of "
            f"{config.initial} initial labels and leave one to train on; lower it, or "
            "raise --config.initial."
        )
    if config.validation and config.reset == "never" and config.trials > 1:
        raise ValueError(
            f"--config.validation: the {config.validation} images that a trial holds "
            "out were trained on by the trials before it, whose weights go on under "
            "reset=never; set it to 0, or choose another --config.reset."
        )
    chosen = config.initial_query == "strategy" and config.strategy != "random"
    if config.validation and chosen:
        raise ValueError(
            f"--config.validation: the {config.validation} images held out would be of "
            f"those that {config.strategy} chooses, and no sample of the pool; set it "
            "to 0, or set --config.initial_query=random."
        )
    if config.pool_subset is not None and config.pool_subset < config.budget:
        raise ValueError(
            f"--config.pool_subset: {config.pool_subset} images cannot fill a budget "
            f"of {config.budget}; set it to at least that, or to none for the whole "
            "pool."
        )


def _check_query(config: Config) -> None:
    strategy, noise = STRATEGIES[config.strategy], config.query.noise
    if noise != "none" and strategy.needs and not strategy.draws:
        draws = [name for name, other in STRATEGIES.items() if other.draws]
        raise ValueError(
            f"--config.query.noise: {noise!r} draws by the score of an image alone, "
            f"which {config.strategy} does not do; set it to none, or choose one of: "
            f"{', '.join(draws)}."
        )


def bought_in(config: Config, cycle: int) -> int:
    """How many images a cycle buys; cycles count from 1."""
    return config.initial if cycle == 1 else config.budget


def labels_in(config: Config, cycle: int) -> int:
    """How many labels a cycle has."""
    return config.initial + (cycle - 1) * config.budget


def check_pool(config: Config, pool: int) -> None:
    """Checks that a pool of `pool` images lasts for all cycles; else ValueError."""
    wanted = labels_in(config, config.cycles)
    if wanted > pool:
        raise ValueError(
            f"--config.cycles: {config.cycles} cycles buy {wanted} labels "
            f"(initial {config.initial} + {config.cycles - 1} x budget "
            f"{config.budget}), but the pool of {config.data.name} has {pool}; "
            "lower cycles, budget or initial."
        )


def check_types(holder: Any, prefix: str) -> None:
    """Refuses a value of another type than its field in a dataclass: ValueError."""
    hints = typing.get_type_hints(type(holder))
    if type(holder).__module__.split(".")[0] == "aljax":
        for name in vars(holder):  # such as a slip in `config.epoch = 3`
            lookup(hints, prefix, name)
    for f in dataclasses.fields(holder):
        name, value, hint = f"{prefix}.{f.name}", getattr(holder, f.name), hints[f.name]
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, hint):
                raise ValueError(f"{name}: {value!r} is not a {hint.__name__}.")
            check_types(value, name)
        elif f.name == "optimizers":
            if not isinstance(value, dict):
                raise ValueError(f"{name}: {value!r} is not a dict of settings.")
            for key, settings in value.items():
                expected = lookup(OPTIMIZERS, name, key)
                if not isinstance(settings, expected):
                    raise ValueError(
                        f"{name}.{key}: {settings!r} is not a {expected.__name__}."
                    )
                check_types(settings, f"{name}.{key}")
        elif not _fits(value, hint):
            raise ValueError(
                f"{name}: {value!r} is of the wrong type; it must be {_words(hint)}."
            )


_UNIONS = (types.UnionType, typing.Union)
_WORDS = {
    int: "a whole number (int)",
    float: "a number (float)",
    bool: "True or False (bool)",
    str: "text (str)",
    dict: "a dict",
    tuple[int, ...]: "whole numbers such as (80, 120) (tuple[int, ...])",
}


def _words(hint: Any) -> str:
    """What a type is called in a sentence."""
    if typing.get_origin(hint) in _UNIONS:
        arms = [a for a in typing.get_args(hint) if a is not types.NoneType]
        return " or ".join(map(_words, arms)) + f", or none ({hint})"
    return _WORDS.get(hint) or _WORDS.get(typing.get_origin(hint)) or str(hint)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if typing.get_origin(hint) in _UNIONS:
        return any(_fits(value, arm) for arm in typing.get_args(hint))
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is tuple:
        return isinstance(value, (tuple, list)) and all(
            _fits(item, typing.get_args(hint)[0]) for item in value
        )
    if origin is not None:
        return isinstance(value, origin)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
