"""Optimizers move weights as PyTorch's do, alone and on a network's gradients."""

import copy
import dataclasses
import itertools
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from aljax.learner import TrainState
from aljax.machine.devices import EVERYWHERE, choose_devices, replicate, spmd
from aljax.optimizers import OPTIMIZERS
from aljax.training import update

torch = pytest.importorskip("torch", reason="parity is measured against PyTorch")
from tests.support import torch_reference as reference  # noqa: E402
from tests.support.parity import MARGIN, WEIGHT, batch, error, make_pair, nearest  # noqa: E402

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
@pytest.mark.parametrize("name", OPTIMIZERS)
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
    leaf = torch.tensor(params, dtype=torch.float64, requires_grad=True)
    optimizer = reference.optimizer(name, [leaf], **theirs)
    for _ in range(5):
        leaf.grad = torch.tensor(random.normal(0, 0.1, 99))
        before = leaf.detach().numpy().copy()
        grads = leaf.grad.numpy().astype(np.float32)
        step, state = direction.update(grads, state, np.float32(before))
        optimizer.step()
        moved = -settings.learning_rate * np.asarray(step)
        assert error(moved, leaf.detach().numpy() - before) < ALONE.get(name, 2e-6)


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
    """Batches, and PyTorch's losses and weights after each; None if a ReLU is near.

    The last dictionaries say which weights had no small gradient so far.
    """
    nets = make_pair("resnet10", 3).restore()
    optimizers = [reference.optimizer(optimizer, net.parameters()) for net in nets]
    steps, live = [], [{}, {}]
    for i, (epoch, count) in enumerate(STEPS):
        ours, theirs = batch(ROWS, count, 3, seed + 1000 * i)
        if nearest(copy.deepcopy(nets[0]), theirs[0]) < NEAR:
            return None
        result = reference.joint_loss(*nets, *theirs, epoch >= 120, WEIGHT, MARGIN)
        for o in optimizers:
            o.param_groups[0]["lr"] *= 0.1 if epoch == 160 else 1.0
            o.zero_grad()
        result["joint"].backward()
        for o in optimizers:
            o.step()
        for net, seen in zip(nets, live, strict=True):
            for path, g in reference.dump(net, gradients=True).items():
                seen[path] = seen.get(path, True) & (np.abs(g) > SMALL)
        loss = float(result["cross_entropy"].detach()) * count
        copies = [dict(seen) for seen in live]
        steps.append((epoch, ours, loss, [reference.dump(net) for net in nets], copies))
    return steps


def distance(a: dict, b: dict) -> float:
    """The largest |a - b| / |b|, in 2-norms, over tensors that are not empty."""
    return max(
        np.linalg.norm(a[p] - b[p]) / np.linalg.norm(b[p]) for p in b if b[p].size
    )


def make_step(optimizer: str):
    """The learner's step with the recipe of an optimizer, and its first state."""
    pair = make_pair("resnet10", 3)
    settings = OPTIMIZERS[optimizer]()
    recipe = dataclasses.replace(
        pair.learner.recipe,
        optimizer=optimizer,
        settings=tuple(vars(settings).items()),
    )
    direction = settings.direction()
    learner = dataclasses.replace(pair.learner, recipe=recipe, optimizer=direction)
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


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
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
    for epoch, images, expected, theirs, live in steps:
        state, (loss, _) = step(state, *images, jnp.int32(epoch))
        assert error(loss, expected) < 2e-6
        ours = state.variables, {"params": state.loss_params}
        first = pair.variables, pair.module_variables
        for a, b, start, mask in zip(ours, theirs, first, live, strict=True):
            a, start = reference.flatten(a), reference.flatten(start)
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
