"""aljax and PyTorch compute the same numbers from the same weights.

An error is max |a - b| / max |b| over one tensor, b being PyTorch's. PyTorch runs in
float64, so that a bound speaks of aljax's own rounding and not of the sum of two.
Weights, statistics and normalisation are random: nothing hides behind ones and zeros.
Padding rows hold garbage; λ and ξ are not 1.

Gradients jump where a ReLU's input changes sign. In a deep network float32 rounding
carries a few inputs across, and each moves every gradient by about a percent:
PyTorch's own float32 does so too. Gradients are therefore compared on batches that
keep all inputs of all ReLUs farther than `NEAR` from zero; normalisations whose bias is
large against their scale make such batches common enough to find.
"""

import copy
import dataclasses
import itertools
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aljax.config import Config
from aljax.learner import Learner, TrainState
from aljax.models import MODELS, LossPrediction, ResNet, ranking_loss
from aljax.models.resnet import BasicBlock
from aljax.optimizers import OPTIMIZERS
from aljax.parallel import AXIS, EVERYWHERE, make_mesh, replicate, spmd
from aljax.training import joint_loss, update

torch = pytest.importorskip("torch", reason="parity is measured against PyTorch")
from tests import torch_reference as reference  # noqa: E402

torch.set_num_threads(1)  # small networks; the cores may be busy

CLASSES, WIDTH, ROWS, NEAR = 10, 4, 6, 5e-5
WEIGHT, MARGIN = 0.7, 1.3  # λ, ξ
NETWORKS = MODELS | {"resnet10": partial(ResNet, BasicBlock, (1, 1, 1, 1))}
# Bounds on errors, with the largest error seen when they were chosen.
FORWARD = 2e-6  # 2e-6: logits, stages, embedding, losses
PREDICTED = 1e-5  # 3e-6: a sum of 512 terms that partly cancel
STATISTICS = 3e-6  # 9e-7: running means and variances
GRADIENT = 5e-5  # 3e-5; half of the tensors within a tenth of it: 3e-6


@dataclasses.dataclass(frozen=True)
class Pair:
    """aljax's and PyTorch's networks and modules with one set of weights."""

    learner: Learner
    variables: dict[str, Any]
    module_variables: dict[str, Any]
    backbone: Any
    lossnet: Any

    def restore(self):
        """Gives PyTorch's side the weights and no gradients."""
        for net, variables in (
            (self.backbone, self.variables),
            (self.lossnet, self.module_variables),
        ):
            reference.load(net.train(), variables).zero_grad()
        return self.backbone, self.lossnet


def error(a, b, scale: float | None = None) -> float:
    """max |a - b| / max |b|, or over a given scale; 0 if both are all zeros."""
    a = np.asarray(a, np.float64)
    b = np.asarray(b.detach() if hasattr(b, "detach") else b)
    assert a.shape == b.shape
    largest = np.abs(b).max() if scale is None else scale
    return float(np.abs(a - b).max() / largest) if np.any(a != b) else 0.0


def assert_close(ours: dict, theirs: dict, bound: float) -> None:
    """Compares trees {path: array}; the smallest scale is 1e-6 of the largest.

    (The gradient of the module's last bias is a sum of ±1/pairs that cancels.)
    """
    ours = reference.flatten(ours)
    assert ours.keys() == theirs.keys()
    largest = max(np.abs(b).max() for b in theirs.values())
    errors = {}
    for path, b in theirs.items():
        size = np.abs(b).max()
        errors[path] = error(ours[path], b, size if size > 1e-6 * largest else largest)
    worst = max(errors, key=errors.get)
    assert errors[worst] <= bound, f"{worst}: {errors[worst]:.2e} of {bound:.0e}"
    assert np.median(list(errors.values())) <= bound / 5


def weights(shapes: dict, random: np.random.Generator, last: bool = False) -> dict:
    """Kernels as large as PyTorch's first ones, and biases as the head of file says."""
    tree = {}
    for name, value in sorted(shapes.items()):
        if isinstance(value, dict):
            after = {"conv1": "conv2", "conv2": "conv3"}.get(name)
            ends = name.startswith(("conv", "shortcut")) and after not in shapes
            tree[name] = weights(value, random, ends)
            continue
        shape = value.shape
        if name == "kernel":
            drawn = random.uniform(-1, 1, shape) * np.prod(shape[:-1]) ** -0.5
        elif name in ("scale", "var"):
            drawn = random.uniform(0.5, 1.5, shape)
        elif name == "bias" and "scale" in shapes:
            drawn = 1.0 if last else 2.0 * random.choice([-1, 1], shape)
            drawn = drawn * random.uniform(0.8, 1.5, shape)
        else:
            drawn = random.normal(0, 0.3, shape)
        tree[name] = drawn.astype(np.float32)
    return tree


@cache
def make_pair(name: str, channels: int) -> Pair:
    config = Config()
    config.loss_prediction.weight, config.loss_prediction.margin = WEIGHT, MARGIN
    network = NETWORKS[name](classes=CLASSES, width=WIDTH, axis_name=AXIS)
    module, key = LossPrediction(), jax.random.key(0)
    random = np.random.default_rng(channels)
    image = jnp.zeros((1, 32, 32, channels))
    variables = weights(jax.eval_shape(network.init, key, image), random)
    stages = jax.eval_shape(network.apply, variables, image).stages
    module_variables = weights(jax.eval_shape(module.init, key, stages), random)
    learner = Learner(
        config=config,
        network=network,
        module=module,
        optimizer=config.optimizers[config.optimizer].direction(),
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        image_shape=(32, 32, channels),
    )
    backbone = reference.ResNet(name, channels, CLASSES, WIDTH).double()
    lossnet = reference.LossNet(name, WIDTH).double()
    return Pair(learner, variables, module_variables, backbone, lossnet)


def batch(count: int, channels: int, seed: int):
    """ROWS rows for aljax, `count` of them real, and the real ones for PyTorch."""
    random = np.random.default_rng((seed, count))
    images = random.normal(0, 1, (ROWS, 32, 32, channels))
    images *= random.uniform(0.3, 1.5, (ROWS, 1, 1, 1))  # contrast
    images += random.normal(0, 1, (ROWS, 1, 1, channels))  # colour
    images[count:] *= 50
    images = images.astype(np.float32)
    labels = random.integers(0, CLASSES, ROWS).astype(np.int32)
    mask = (np.arange(ROWS) < count).astype(np.float32)
    real = reference.nchw(images[:count].astype(np.float64))
    return (images, labels, mask), (real, torch.from_numpy(labels[:count]).long())


def nearest(backbone, images) -> float:
    """How near to zero any input of any ReLU of the network comes."""
    found, hooks = [], []
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.ReLU):
            hook = lambda _, x: found.append(float(x[0].detach().abs().min()))  # noqa: E731
            hooks.append(layer.register_forward_pre_hook(hook))
    with torch.no_grad():
        backbone(images)
    for hook in hooks:
        hook.remove()
    return min(found)


# (model, real rows) -> where the search for a seed finds one at once.
SEEDS = {
    ("resnet18", 6): 6,
    ("resnet18", 5): 3,
    ("resnet50", 6): 7,
    ("resnet50", 5): 35,
    ("resnet50", 4): 1,
}


@cache
def smooth_batch(name: str, channels: int, count: int):
    """A batch that keeps all inputs of all ReLUs away from zero."""
    pair = make_pair(name, channels)
    for seed in itertools.count(SEEDS.get((name, count), 0)):
        made = batch(count, channels, seed)
        if nearest(pair.restore()[0], made[1][0]) > NEAR:
            return made


@cache
def train_program(name: str, channels: int):
    learner = make_pair(name, channels).learner

    def run(trained, *rest):
        def share(trained):
            return joint_loss(learner, trained, *rest)

        return jax.value_and_grad(share, has_aux=True)(trained)

    return spmd(run, make_mesh(1), (EVERYWHERE,) * 7, EVERYWHERE)


def train_both(name: str, channels: int, count: int, detach: bool):
    """Loss, gradients and statistics of one batch on both sides."""
    pair = make_pair(name, channels)
    (images, labels, mask), theirs = smooth_batch(name, channels, count)
    trained = pair.variables["params"], pair.module_variables["params"]
    (loss, aux), grads = train_program(name, channels)(
        trained,
        pair.variables["batch_stats"],
        images,
        labels,
        mask,
        jnp.int32(count),
        jnp.bool_(detach),
    )
    result = reference.joint_loss(*pair.restore(), *theirs, detach, WEIGHT, MARGIN)
    result["joint"].backward()
    return pair, (loss, aux, grads), result


@pytest.mark.parametrize(
    "name, channels", [("resnet18", 3), ("resnet34", 1), ("resnet50", 3)]
)
def test_evaluation(name, channels):
    pair = make_pair(name, channels)

    @jax.jit
    def forward(variables, module_variables, images):
        features = pair.learner.network.apply(variables, images)
        return features, pair.learner.module.apply(module_variables, features.stages)

    (images, _, _), (theirs, _) = batch(ROWS, channels, 0)
    ours, predicted = forward(pair.variables, pair.module_variables, images)
    backbone, lossnet = pair.restore()
    with torch.no_grad():
        logits, stages, embedding = backbone.eval()(theirs)
        assert error(predicted, lossnet(stages)) < PREDICTED
    assert error(ours.logits, logits) < FORWARD
    assert error(ours.embedding, embedding) < FORWARD
    for a, b in zip(ours.stages, stages, strict=True):
        assert error(a, b.permute(0, 2, 3, 1)) < FORWARD


@pytest.mark.parametrize("detach", [False, True], ids=["joint", "detached"])
@pytest.mark.parametrize("count", [ROWS, ROWS - 1, ROWS - 2, 1])
@pytest.mark.parametrize("name, channels", [("resnet18", 3), ("resnet50", 1)])
def test_joint_loss_and_every_gradient(name, channels, count, detach):
    pair, (loss, aux, grads), theirs = train_both(name, channels, count, detach)
    stats, losses, logits = aux
    assert error(logits[:count], theirs["logits"]) < FORWARD
    cross_entropy = np.asarray(losses[:count]).mean()
    assert error(cross_entropy, theirs["cross_entropy"]) < FORWARD
    assert error(loss, theirs["joint"]) < FORWARD
    expected = reference.dump(pair.backbone)
    expected = {p: v for p, v in expected.items() if p[0] == "batch_stats"}
    assert_close({"batch_stats": stats}, expected, STATISTICS)
    for ours, net in zip(grads, (pair.backbone, pair.lossnet), strict=True):
        assert_close({"params": ours}, reference.dump(net, gradients=True), GRADIENT)


@pytest.mark.parametrize("name, channels", [("resnet18", 3), ("resnet50", 1)])
def test_detached_module_learns_and_leaves_the_network_alone(name, channels):
    pair, (_, _, joint), theirs = train_both(name, channels, ROWS, detach=False)
    _, (_, _, detached), _ = train_both(name, channels, ROWS, detach=True)
    backbone, _ = pair.restore()
    _, (images, labels) = smooth_batch(name, channels, ROWS)
    torch.nn.functional.cross_entropy(backbone(images)[0], labels).backward()
    alone = reference.dump(backbone, gradients=True)
    assert_close({"params": detached[0]}, alone, GRADIENT)
    with pytest.raises(AssertionError, match=" of "):
        assert_close({"params": joint[0]}, alone, 100 * GRADIENT)
    assert all(map(np.array_equal, *map(jax.tree.leaves, (joint[1], detached[1]))))
    assert max(np.abs(g).max() for g in jax.tree.leaves(detached[1])) > 0.1


@pytest.mark.parametrize("count", range(10))
def test_ranking_loss(count):
    random = np.random.default_rng(count)
    predicted, target = random.normal(0, 1, (2, 9)).astype(np.float32)
    target = np.round(target)  # ties
    ours = jax.value_and_grad(ranking_loss)(predicted, target, count, MARGIN)
    leaf = torch.tensor(predicted[:count], dtype=torch.float64, requires_grad=True)
    theirs = reference.ranking_loss(leaf, torch.from_numpy(target[:count]), MARGIN)
    theirs.backward()
    assert error(ours[0], theirs) < 1e-6
    assert error(ours[1][:count], leaf.grad) < 1e-6 if count else not ours[1].any()
    assert not ours[1][count:].any()


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
        assert error(moved, leaf.detach() - before) < ALONE.get(name, 2e-6)


# Epochs finished before each of five steps, and its real rows: the module is detached
# from the third on, the batch of the fourth is short, the rate falls before the fifth.
STEPS = ((0, ROWS), (119, ROWS), (120, ROWS), (121, ROWS - 1), (160, ROWS))
STEP_SEED = 3  # all four find a trajectory there
STEP_NEAR = 1e-5  # a network of ten layers errs less
# Distances of weights after each step, and of their moves since the first: these are a
# thousandth of the weights, so float32 weights leave them three digits less.
STEPPED = {"sgd": 5e-5, "adam": 1e-5, "adamw": 5e-6, "rmsprop": 1e-4}
MOVED = {"sgd": 1e-3, "adam": 5e-3, "adamw": 5e-3, "rmsprop": 1e-3}


def five_steps(optimizer: str, seed: int) -> list | None:
    """Batches, and PyTorch's losses and weights after each; None if a ReLU is near.

    The last dictionary says which weights had a gradient above rounding in all steps.
    """
    nets = make_pair("resnet10", 3).restore()
    optimizers = [reference.optimizer(optimizer, net.parameters()) for net in nets]
    steps, live = [], [{}, {}]
    for i, (epoch, count) in enumerate(STEPS):
        ours, theirs = batch(count, 3, seed + 1000 * i)
        if nearest(copy.deepcopy(nets[0]), theirs[0]) < STEP_NEAR:
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
                seen[path] = seen.get(path, True) & (np.abs(g) > 1e-6)
        loss = float(result["cross_entropy"].detach()) * count
        copies = [dict(seen) for seen in live]
        steps.append((epoch, ours, loss, [reference.dump(net) for net in nets], copies))
    return steps


def distance(a: dict, b: dict) -> float:
    """The largest |a - b| / |b|, in 2-norms, over tensors that are not empty."""
    return max(
        np.linalg.norm(a[path] - b[path]) / np.linalg.norm(b[path])
        for path in b
        if b[path].size
    )


def any_optimizer() -> optax.GradientTransformation:
    """All four at once, of which the state picks one: they share a compilation.

    Each gives its direction times its own learning rate.
    """
    members = [
        optax.flatten(optax.chain(s.direction(), optax.scale(s.learning_rate)))
        for s in (make() for make in OPTIMIZERS.values())
    ]

    def init(params):
        return jnp.int32(0), tuple(m.init(params) for m in members)

    def branch(k, grads, states, params):
        steps, new = members[k].update(grads, states[k], params)
        return steps, (*states[:k], new, *states[k + 1 :])

    def update(grads, state, params):
        branches = [partial(branch, k) for k in range(len(members))]
        steps, states = jax.lax.switch(state[0], branches, grads, state[1], params)
        return steps, (state[0], states)

    return optax.GradientTransformation(init, update)


@cache
def step_program():
    """The learner of four optimizers, its first state, and its compiled step."""
    pair = make_pair("resnet10", 3)
    pair.learner.config.optimizers["sgd"].learning_rate = 1.0
    learner = dataclasses.replace(pair.learner, optimizer=any_optimizer())
    params, loss_params = pair.variables["params"], pair.module_variables["params"]
    mesh = make_mesh(1)
    state = TrainState(
        step=jnp.int32(0),
        params=params,
        batch_stats=pair.variables["batch_stats"],
        opt_state=learner.optimizer.init(params),
        loss_params=loss_params,
        loss_opt_state=learner.optimizer.init(loss_params),
    )
    step = spmd(partial(update, learner), mesh, (EVERYWHERE,) * 5, EVERYWHERE)
    return pair, state, step


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_five_steps(optimizer):
    """Adam and RMSProp divide a gradient by its own size.

    Where it is all but zero, its sign, and so a whole step, is rounding. Distances
    between tensors forgive the few weights that the report's L2 leaves so. AdamW has no
    L2: there, weights without a gradient are left out.
    """
    pair, state, step = step_program()
    seeds = itertools.count(STEP_SEED)
    steps = next(filter(None, (five_steps(optimizer, seed) for seed in seeds)))
    index = jnp.int32(list(OPTIMIZERS).index(optimizer))
    state = state._replace(
        opt_state=(index, state.opt_state[1]),
        loss_opt_state=(index, state.loss_opt_state[1]),
    )
    state = replicate(state, make_mesh(1))  # as the program returns it
    for epoch, images, expected, theirs, live in steps:
        state, (loss, _) = step(state, *images, jnp.int32(epoch))
        assert error(loss, expected) < FORWARD
        ours = state.variables, {"params": state.loss_params}
        first = pair.variables, pair.module_variables
        for a, b, start, mask in zip(ours, theirs, first, live, strict=True):
            a, start = reference.flatten(a), reference.flatten(start)
            if optimizer != "adamw":
                mask = {}
            a, b, start = (
                {p: np.float64(x[p])[mask.get(p, ...)] for p in b}
                for x in (a, b, start)
            )
            assert distance(a, b) < STEPPED[optimizer]
            moved = ({p: x[p] - start[p] for p in b} for x in (a, b))
            assert distance(*moved) < MOVED[optimizer]
