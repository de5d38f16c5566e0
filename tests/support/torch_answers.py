"""What the tests ask of PyTorch, in arrays: weights and images in, numbers out.

Nothing here knows JAX, so that another Python can answer (`pytorch.py`).
"""

import copy
from functools import partial
from typing import Any

import numpy as np
import torch

from tests.support import torch_reference as reference
from tests.support.contributions import contributions

torch.set_num_threads(1)  # small networks; the cores may be busy

Variables = tuple[dict[str, Any], dict[str, Any]]  # of a network, and of its module


def _nets(network: tuple, variables: Variables, dtype=torch.float64) -> list:
    """Network (name, channels, classes, width) and module, ready to train."""
    name, _, _, width = network
    nets = reference.ResNet(*network), reference.LossNet(name, width)
    pairs = zip(nets, variables, strict=True)
    return [reference.load(net.to(dtype).train(), v) for net, v in pairs]


def _batch(images, labels, dtype=torch.float64):
    images = reference.nchw(np.asarray(images)).to(dtype)
    return images, torch.from_numpy(np.asarray(labels)).long()


def _numpy(tensors):
    if isinstance(tensors, list):
        return [_numpy(tensor) for tensor in tensors]
    return tensors.detach().numpy().copy()


def nearest(network: tuple, variables: Variables, images: np.ndarray) -> float:
    """How near to zero any input of any ReLU of the network comes in training."""
    return _nearest(_nets(network, variables)[0], _batch(images, [])[0])


@torch.no_grad()
def _nearest(backbone, images) -> float:
    found, hooks = [], []
    for layer in backbone.modules():
        if isinstance(layer, torch.nn.ReLU):
            hook = lambda _, x: found.append(float(x[0].abs().min()))  # noqa: E731
            hooks.append(layer.register_forward_pre_hook(hook))
    backbone(images)
    for hook in hooks:
        hook.remove()
    return min(found)


@torch.no_grad()
def evaluate(network: tuple, variables: Variables, images: np.ndarray) -> dict:
    """Logits, stages (as aljax lays them), embedding and predicted losses."""
    backbone, module = _nets(network, variables)
    logits, stages, embedding = backbone.eval()(_batch(images, [])[0])
    return {
        "logits": _numpy(logits),
        "stages": [_numpy(stage.permute(0, 2, 3, 1)) for stage in stages],
        "embedding": _numpy(embedding),
        "predicted": _numpy(module(stages)),
    }


def train(
    network: tuple,
    variables: Variables,
    images: np.ndarray,
    labels: np.ndarray,
    detach: bool,
    weight: float,
    margin: float,
    precision: str = "float64",
    mistake: str | None = None,
) -> dict[str, Any]:
    """One batch: losses, logits, statistics, gradients and what these are sums of.

    `mistake` names a wrong formula of MISTAKES, for the tests of the measure itself.
    """
    dtype = getattr(torch, precision)
    nets = _nets(network, variables, dtype)
    if mistake:
        MISTAKES[mistake](nets[0])
    with contributions(*nets) as terms:
        batch = _batch(images, labels, dtype)
        result = reference.joint_loss(*nets, *batch, detach, weight, margin)
        result["joint"].backward()
    numbers = "logits", "cross_entropy", "joint"
    dumped = reference.dump(nets[0])
    return {name: _numpy(result[name]) for name in numbers} | {
        "statistics": {p: v for p, v in dumped.items() if p[0] == "batch_stats"},
        "gradients": [reference.dump(net, of=lambda t: t.grad) for net in nets],
        "contributions": [reference.dump(net, of=terms.get) for net in nets],
    }


def _flawed_norm(norm, constant, eps, x):
    """Batch normalisation of which one thing is wrong."""
    variance, mean = torch.var_mean(x, (0, 2, 3), unbiased=False, keepdim=True)
    mean = mean.detach() if constant == "mean" else mean
    variance = variance.detach() if constant == "variance" else variance
    y = (x - mean) / (variance + eps).sqrt()
    return y * norm.weight[:, None, None] + norm.bias[:, None, None]


def _flaw(constant: str = "", eps: float = 1e-5):
    """Spoils one normalisation, that of the first block's first convolution."""

    def spoil(backbone):
        norm = backbone.stages[0][0].norm1
        norm.forward = partial(_flawed_norm, norm, constant, eps)

    return spoil


MISTAKES = {
    "mean held constant": _flaw("mean"),
    "variance held constant": _flaw("variance"),
    "ten times epsilon": _flaw(eps=1e-4),
}


def ranking(predicted: np.ndarray, target: np.ndarray, margin: float) -> tuple:
    """The ranking loss and its gradient by the predictions."""
    leaf = torch.tensor(predicted, dtype=torch.float64, requires_grad=True)
    loss = reference.ranking_loss(leaf, torch.from_numpy(target), margin)
    loss.backward()
    return _numpy(loss), _numpy(leaf.grad)


def moves(
    name: str, params: np.ndarray, gradients: np.ndarray, changes: dict
) -> list[np.ndarray]:
    """Parameters at first and after each step of an optimizer on given gradients."""
    leaf = torch.tensor(params, dtype=torch.float64, requires_grad=True)
    optimizer, seen = reference.optimizer(name, [leaf], **changes), [_numpy(leaf)]
    for gradient in gradients:
        leaf.grad = torch.from_numpy(gradient)
        optimizer.step()
        seen.append(_numpy(leaf))
    return seen


def steps(
    network: tuple,
    variables: Variables,
    optimizer: str,
    batches: list[tuple],
    weight: float,
    margin: float,
    near: float,
) -> list[dict[str, Any]] | None:
    """Loss, gradients and weights of each step; None if a ReLU is nearer than `near`.

    `batches` holds (images, labels, whether to detach the module, factor of the rate).
    """
    nets, seen = _nets(network, variables), []
    optimizers = [reference.optimizer(optimizer, net.parameters()) for net in nets]
    for images, labels, detach, factor in batches:
        batch = _batch(images, labels)
        if _nearest(copy.deepcopy(nets[0]), batch[0]) < near:
            return None
        result = reference.joint_loss(*nets, *batch, detach, weight, margin)
        for o in optimizers:
            o.param_groups[0]["lr"] *= factor
            o.zero_grad()
        result["joint"].backward()
        for o in optimizers:
            o.step()
        gradients = [reference.dump(net, of=lambda t: t.grad) for net in nets]
        loss = float(result["cross_entropy"].detach()) * len(labels)
        weights = [reference.dump(net) for net in nets]
        seen.append({"loss": loss, "gradients": gradients, "weights": weights})
    return seen
