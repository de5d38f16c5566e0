"""What programs are made of is their key: all that a learner knows is compared."""

import dataclasses

import pytest

from aljax.config import Config, flatten, replace
from aljax.learner import Blueprint, make_blueprint

# Fields that no compiled program depends on, and why.
NOT_COMPILED = {
    "strategy",  # chooses, beside the programs; what it needs decides on the module
    "epochs",  # data of the training program, as the next ones
    "trials",
    "cycles",  # gives shapes, which jax.jit tells apart
    "initial",
    "budget",
    "initial_query",
    "pool_subset",
    "validation",
    "reset",
    "seed",
    "data.name",  # a session has one dataset
    "data.path",
    "data.image_size",
    "loss_prediction.train",  # decides whether there is a module
    "checkpoint_seconds",
    "sweep",
    "query.noise",  # of the selection, which has programs of its own, as the next ones
    "query.beta",
    "query.clusters",
    "query.oversample",
    "query.neighbours",
    "query.fisher",
    "query.regularisation",
}
OTHERS = {
    "model": "resnet34",
    "optimizer": "adam",
    "precision": "bfloat16",
    "sync_batch_norm": False,
    "augmentation.padding": "mean",
    "augmentation.flip": False,
    "schedule.milestones": (7,),
    "optimizers.sgd.nesterov": True,
    "query.dropout": 0.25,
}


def compiled_fields() -> dict[str, object]:
    """Every field of a configuration that says what is compiled, and another value."""
    flat = flatten(Config())
    assert NOT_COMPILED <= flat.keys()
    unused = tuple(
        f"optimizers.{name}." for name in ("adam", "adamw", "rmsprop", "adam_sgd")
    )
    return {
        name: OTHERS[name] if name in OTHERS else value + 1
        for name, value in flat.items()
        if name not in NOT_COMPILED and not name.startswith(unused)
    }


def blueprint_of(config: Config, dataset) -> Blueprint:
    """The blueprint of a learner that has all parts."""
    return make_blueprint(config, dataset, with_module=True, stochastic=True)


@pytest.mark.parametrize("name, other", compiled_fields().items())
def test_every_field_of_a_program_makes_another_blueprint(name, other, tiny_dataset):
    config = Config()
    first = blueprint_of(config, tiny_dataset)
    assert first == blueprint_of(Config(seed=7), tiny_dataset)
    changed = blueprint_of(replace(config, name, other), tiny_dataset)
    assert changed != first
    assert len({first, changed}) == 2


def test_blueprints_of_lists_are_hashable(tiny_dataset):
    config = replace(Config(), "schedule.milestones", [3, 5])
    tuples = replace(Config(), "schedule.milestones", (3, 5))
    assert len({make_blueprint(c, tiny_dataset, True) for c in (config, tuples)}) == 1


def test_settings_of_an_optimizer_that_is_not_chosen_do_not_matter(tiny_dataset):
    other = replace(Config(), "optimizers.adam.learning_rate", 3.0)
    assert make_blueprint(other, tiny_dataset, True) == make_blueprint(
        Config(), tiny_dataset, True
    )


def test_a_blueprint_is_frozen(tiny_dataset):
    blueprint = make_blueprint(Config(), tiny_dataset, with_module=False)
    assert blueprint.ranking is None and isinstance(blueprint, Blueprint)
    with pytest.raises(dataclasses.FrozenInstanceError):
        blueprint.width = 3
