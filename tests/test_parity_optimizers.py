"""Optimizers move weights as PyTorch's do, alone and on a network's gradients."""

import dataclasses
import itertools
from functools import partial
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

from aljax.learner import TrainState
from aljax.machine.devices import EVERYWHERE, choose_devices, replicate, spmd
from aljax.optimizers import OPTIMIZERS, AdamSgd
from aljax.training import update
from tests.support.parity import MARGIN, WEIGHT, batch, error, make_pair
from tests.support.pytorch import ask
from tests.support.trees import flatten

pytestmark = pytest.mark.usefixtures("full_float32")
# Adam's 1 - 0.999^t has five digits left in float32.
ALONE = {"adam": 2e-5, "adamw": 2e-5}
# Settings under which the place of every term shows: ε as large as the gradients.
ODD_SETTINGS = {
    "sgd": (dict(nesterov=True), dict(nesterov=True)),
    "adam": (dict(beta1=0.8, beta2=0.9), dict(betas=(0.8, 0.9))),
    "adamw": (dict(beta1=0.8, beta2=0.9), dict(betas=(0.8, 0.9))),
    "rmsprop": (dict(decay=0.8), dict(alpha=0.8)),
}


@pytest.mark.parametrize("odd", [False, True], ids=["report", "odd"])
@pytest.mark.parametrize("name", ODD_SETTINGS)
def test_optimizer_on_given_gradients(name, odd):
    ours, theirs = {}, {}
    if odd:
        ours, theirs = ODD_SETTINGS[name]
        ours, theirs = ours | {"weight_decay": 0.3}, theirs | {"weight_decay": 0.3}
    if odd and name != "sgd":
        ours, theirs = ours | {"epsilon": 0.1}, theirs | {"eps": 0.1}
    settings = OPTIMIZERS[name](**ours)
    direction, random = settings.direction(), np.random.default_rng(0)
    params = random.normal(0, 1, 99).astype(np.float32)
    state = direction.init(params)
    gradients = random.normal(0, 0.1, (5, 99))
    seen = ask("moves", name, params, gradients, theirs)
    for gradient, (before, after) in zip(gradients, pairwise(seen), strict=True):
        step, state = direction.update(np.float32(gradient), state, np.float32(before))
        moved = -settings.learning_rate * np.asarray(step)
        assert error(moved, after - before) < ALONE.get(name, 2e-6)


def test_adam_then_sgd_on_given_gradients():
    """Theirs: a new SGD takes over the weights that Adam has left."""
    settings, random = AdamSgd(switch_epoch=3), np.random.default_rng(0)
    direction = settings.direction()
    params = random.normal(0, 1, 99).astype(np.float32)
    gradients = random.normal(0, 0.1, (6, 99))
    first = ask("moves", "adam", params, gradients[:3], {})
    then = ask("moves", "sgd", first[-1], gradients[3:], {})
    state = direction.init(params)
    moves = pairwise([*first, *then[1:]])
    for epoch, (gradient, (before, after)) in enumerate(zip(gradients, moves)):  # noqa: B905
        given = np.float32(gradient), state, np.float32(before)
        step, state = direction.update(*given, epoch=epoch)
        moved = -settings.rate(epoch) * np.asarray(step)
        assert error(moved, after - before) < 2e-5


# With fewer rows, some weights see no input at all that is not zero: their gradient is
# exactly zero, or rounding, from which Adam makes a whole step.
ROWS = 40
# Epochs finished before each of five steps, and its real rows: the module is detached
# from the third on, the batch of the fourth is short, the rate falls before the fifth.
STEPS = ((0, ROWS), (119, ROWS), (120, ROWS), (121, ROWS - 1), (160, ROWS))
NEAR = 1e-5  # a network of ten layers errs less
SEEDS = {"sgd": 4, "adam": 29, "adamw": 29, "rmsprop": 52}  # found at once from here
# Bounds on distances of weights after each step, and of their moves since the first: a
# thousandth of the weights, so float32 weights leave them three digits less.
STEPPED = {"sgd": 5e-5, "adam": 1e-5, "adamw": 5e-6, "rmsprop": 1e-4}
MOVED = {"sgd": 1e-3, "adam": 3e-3, "adamw": 5e-3, "rmsprop": 1e-3}
# AdamW's hold where every gradient was larger than this; over all weights, STEPPED_ALL.
SMALL, STEPPED_ALL = 1e-6, 1e-4
# The gradient of the last bias of the module is a sum of ±1/pairs that cancels; what
# rounding leaves of it AdamW makes steps of, without an L2 that would drown it.
NO_GRADIENT = ("params", "head", "bias")


def five_steps(optimizer: str, seed: int) -> list | None:
    """Batches, and PyTorch's answer to each; None if a ReLU is near."""
    ours, theirs = [], []
    for i, (epoch, count) in enumerate(STEPS):
        images, labels, mask = batch(ROWS, count, 3, seed + 1000 * i)
        ours.append((epoch, (images, labels, mask)))
        factor = 0.1 if epoch == 160 else 1.0
        theirs.append((images[:count], labels[:count], epoch >= 120, factor))
    how = optimizer, theirs, WEIGHT, MARGIN, NEAR
    answers = ask("steps", *make_pair("resnet10", 3).torch, *how)
    return answers and [(*o, answer) for o, answer in zip(ours, answers, strict=True)]


def distance(a: dict, b: dict) -> float:
    """The largest |a - b| / |b|, in 2-norms, over tensors that are not empty."""
    return max(
        np.linalg.norm(a[p] - b[p]) / np.linalg.norm(b[p]) for p in b if b[p].size
    )


def make_step(optimizer: str):
    """The learner's step with the blueprint of an optimizer, and its first state."""
    pair = make_pair("resnet10", 3)
    settings = OPTIMIZERS[optimizer]()
    blueprint = dataclasses.replace(
        pair.learner.blueprint,
        optimizer=optimizer,
        settings=tuple(vars(settings).items()),
    )
    direction = settings.direction()
    learner = dataclasses.replace(
        pair.learner, blueprint=blueprint, optimizer=direction
    )
    params, loss_params = pair.variables["params"], pair.module_variables["params"]
    devices = choose_devices(1)
    state = TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=pair.variables["batch_stats"],
        opt_state=direction.init(params),
        loss_params=loss_params,
        loss_opt_state=direction.init(loss_params),
    )
    step = spmd(partial(update, learner), devices, (EVERYWHERE,) * 5, EVERYWHERE)
    return step, replicate(state, devices)


@pytest.mark.parametrize("optimizer", STEPPED)
def test_five_steps(optimizer):
    """Distances are between whole tensors.

    Adam and RMSProp divide a gradient by its own size. Where it is all but zero, its
    sign, and so the whole step of that weight, is rounding: most of all in AdamW, which
    adds no L2 to it.
    """
    pair = make_pair("resnet10", 3)
    seeds = itertools.count(SEEDS[optimizer])
    steps = next(filter(None, (five_steps(optimizer, seed) for seed in seeds)))
    step, state = make_step(optimizer)
    live = [{}, {}]  # which weights had no small gradient so far
    for epoch, images, answer in steps:
        state, (loss, _) = step(state, *images, jnp.int32(epoch))
        assert error(loss, answer["loss"]) < 2e-6
        for seen, gradients in zip(live, answer["gradients"], strict=True):
            for path, g in gradients.items():
                seen[path] = seen.get(path, True) & (np.abs(g) > SMALL)
        ours = state.variables, {"params": state.loss_params}
        first, theirs = (pair.variables, pair.module_variables), answer["weights"]
        for a, b, start, mask in zip(ours, theirs, first, live, strict=True):
            a, start = flatten(a), flatten(start)
            if optimizer == "adamw":
                alone = NO_GRADIENT if b is theirs[1] else None
                assert distance(a, {p: b[p] for p in b if p != alone}) < STEPPED_ALL
                if alone:
                    farthest = len(STEPS) * OPTIMIZERS[optimizer]().learning_rate
                    assert np.abs(a[alone] - b[alone]) <= farthest
            else:
                mask = {}
            a, b, start = (
                {p: np.float64(x[p])[mask.get(p, ...)] for p in b}
                for x in (a, b, start)
            )
            assert distance(a, b) < STEPPED[optimizer]
            moved = ({p: x[p] - start[p] for p in b} for x in (a, b))
            assert distance(*moved) < MOVED[optimizer]
