"""The same mathematics in plain PyTorch, written from the formulas alone.

The tests hold aljax against this file, so it is short and slow, shares no code with
aljax, and follows the papers' notation. `load` and `dump` move weights between the two.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.support.trees import flatten

BLOCKS = {
    "resnet10": (1, 1, 1, 1),
    "wide": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
BASIC = (
    "resnet10",
    "wide",
    "resnet18",
    "resnet34",
)  # the others are made of Bottlenecks


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class Shortcut(nn.Module):
    """Identity, or a projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv, self.norm = None, None
        if stride != 1 or inputs != outputs:
            self.conv = _conv(inputs, outputs, 1, stride)
            self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.conv is None else self.norm(self.conv(x))


class BasicBlock(nn.Module):
    """3x3 with the stride, 3x3."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int):
        super().__init__()
        self.conv1 = _conv(inputs, planes, 3, stride)
        self.norm1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3)
        self.norm2 = nn.BatchNorm2d(planes)
        self.shortcut = Shortcut(inputs, planes, stride)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return self.relu(y + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride, 1x1 to four times the planes."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int):
        super().__init__()
        self.conv1 = _conv(inputs, planes, 1)
        self.norm1 = nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3, stride)
        self.norm2 = nn.BatchNorm2d(planes)
        self.conv3 = _conv(planes, 4 * planes, 1)
        self.norm3 = nn.BatchNorm2d(4 * planes)
        self.shortcut = Shortcut(inputs, 4 * planes, stride)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        return self.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network for small images (He et al., arXiv 1512.03385)."""

    def __init__(self, name: str, channels: int, classes: int, width: int):
        super().__init__()
        block = BasicBlock if name in BASIC else Bottleneck
        self.conv = _conv(channels, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.stages = nn.ModuleList()
        inputs = width
        for i, count in enumerate(BLOCKS[name]):
            planes = width * 2**i
            stage = nn.ModuleList()
            for j in range(count):
                stage.append(block(inputs, planes, 2 if i > 0 and j == 0 else 1))
                inputs = planes * block.expansion
            self.stages.append(stage)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> tuple:
        """Maps images `[B, C, H, W]` to logits, stage outputs and embedding."""
        x = self.relu(self.norm(self.conv(x)))
        outputs = []
        for stage in self.stages:
            for block in stage:
                x = block(x)
            outputs.append(x)
        embedding = x.mean((2, 3))
        return self.head(embedding), outputs, embedding


class LossNet(nn.Module):
    """The loss prediction module (Yoo & Kweon, arXiv 1905.03677)."""

    def __init__(self, name: str, width: int, features: int = 128):
        super().__init__()
        expansion = 1 if name in BASIC else 4
        self.layers = nn.ModuleList(
            nn.Linear(width * expansion * 2**i, features) for i in range(4)
        )
        self.head = nn.Linear(4 * features, 1)

    def forward(self, stages: list[torch.Tensor]) -> torch.Tensor:
        hidden = [
            F.relu(layer(stage.mean((2, 3))))
            for layer, stage in zip(self.layers, stages, strict=True)
        ]
        return self.head(torch.cat(hidden, 1)).squeeze(1)


def ranking_loss(
    predicted: torch.Tensor, target: torch.Tensor, margin: float = 1.0
) -> torch.Tensor:
    """Mean over pairs (i, n-1-i) of max(0, ξ - sign(Δl)·Δl̂), sign(0) = -1."""
    n = len(predicted)
    target = target.detach()
    terms = []
    for i in range(n // 2):
        j = n - 1 - i
        sign = 1.0 if target[i] - target[j] > 0 else -1.0
        terms.append(torch.clamp(margin - sign * (predicted[i] - predicted[j]), min=0))
    return torch.stack(terms).mean() if terms else 0.0 * predicted.sum()


def joint_loss(
    backbone: ResNet,
    module: LossNet,
    images: torch.Tensor,
    labels: torch.Tensor,
    detach: bool = False,
    weight: float = 1.0,
    margin: float = 1.0,
) -> dict[str, torch.Tensor]:
    """Mean cross-entropy + λ·ranking loss of one batch, and all that led there."""
    logits, stages, embedding = backbone(images)
    predicted = module([s.detach() for s in stages] if detach else stages)
    each = F.cross_entropy(logits, labels, reduction="none")
    ranking = ranking_loss(predicted, each, margin)
    return {
        "logits": logits,
        "stages": stages,
        "embedding": embedding,
        "predicted": predicted,
        "cross_entropy": each.mean(),
        "ranking": ranking,
        "joint": each.mean() + weight * ranking,
    }


def optimizer(name: str, parameters, **changes) -> torch.optim.Optimizer:
    """The report's four optimizers; `changes` replaces its settings."""
    make, settings = {
        "sgd": (torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=5e-4)),
        "adam": (torch.optim.Adam, dict(lr=1e-4, weight_decay=1e-4)),
        "adamw": (torch.optim.AdamW, dict(lr=1e-4, weight_decay=5e-4)),
        "rmsprop": (
            torch.optim.RMSprop,
            dict(lr=1e-4, alpha=0.99, momentum=0.9, weight_decay=1e-4),
        ),
    }[name]
    return make(parameters, **settings | changes)


def _units(backbone: ResNet) -> Iterator[tuple[tuple[str, ...], nn.Conv2d, nn.Module]]:
    """Every convolution and its normalisation, under aljax's name for the two."""
    yield ("stem",), backbone.conv, backbone.norm
    for i, stage in enumerate(backbone.stages):
        for j, block in enumerate(stage):
            name = f"stage{i + 1}_block{j + 1}"
            for k in range(1, 4 if isinstance(block, Bottleneck) else 3):
                conv, norm = getattr(block, f"conv{k}"), getattr(block, f"norm{k}")
                yield (name, f"conv{k}"), conv, norm
            if block.shortcut.conv is not None:
                yield (name, "shortcut"), block.shortcut.conv, block.shortcut.norm


def _entries(net: nn.Module) -> Iterator[tuple[tuple[str, ...], torch.Tensor, tuple]]:
    """Every tensor, its path in aljax, and the order of axes that aljax wants."""
    if isinstance(net, LossNet):
        linear = [(f"stage{i + 1}", layer) for i, layer in enumerate(net.layers)]
    else:
        linear = []
        for path, conv, norm in _units(net):
            yield ("params", *path, "kernel"), conv.weight, (2, 3, 1, 0)
            yield ("params", *path, "scale"), norm.weight, (0,)
            yield ("params", *path, "bias"), norm.bias, (0,)
            yield ("batch_stats", *path, "mean"), norm.running_mean, (0,)
            yield ("batch_stats", *path, "var"), norm.running_var, (0,)
    for name, layer in [*linear, ("head", net.head)]:
        yield ("params", name, "kernel"), layer.weight, (1, 0)
        yield ("params", name, "bias"), layer.bias, (0,)


@torch.no_grad()
def load(net: nn.Module, variables: dict) -> nn.Module:
    """Copies aljax variables into `net`; every one must find its tensor."""
    flat = flatten(variables)
    for path, tensor, axes in _entries(net):
        value = np.array(flat.pop(path)).transpose(np.argsort(axes))
        assert value.shape == tuple(tensor.shape), (path, value.shape, tensor.shape)
        tensor.copy_(torch.from_numpy(value))
    assert not flat, f"no place for {sorted(flat)}"
    return net


def dump(
    net: nn.Module, of: Callable[[torch.Tensor], torch.Tensor | None] | None = None
) -> dict[tuple[str, ...], np.ndarray]:
    """Copies `net` out as {path: array in aljax's layout}.

    With `of`, what that gives for each parameter, such as its gradient; None is zeros.
    """
    flat = {}
    for path, tensor, axes in _entries(net):
        if of is not None:
            if path[0] == "batch_stats":
                continue
            given = of(tensor)
            tensor = torch.zeros_like(tensor) if given is None else given
        flat[path] = tensor.detach().numpy().transpose(axes).copy()
    return flat


def nchw(images: np.ndarray) -> torch.Tensor:
    """Images `[B, H, W, C]` -> `[B, C, H, W]`."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
