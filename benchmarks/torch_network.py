"""The recipe's networks, joint loss, optimizers and augmentation in PyTorch.

`torch_baseline.py` trains and measures them.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

DEPTHS = {
    "resnet18": (False, (2, 2, 2, 2)),
    "resnet34": (False, (3, 4, 6, 3)),
    "resnet50": (True, (3, 4, 6, 3)),
    "resnet101": (True, (3, 4, 23, 3)),
    "resnet152": (True, (3, 8, 36, 3)),
}
OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=5e-4),
    "adam": partial(torch.optim.Adam, lr=1e-4, weight_decay=1e-4),
    "adamw": partial(torch.optim.AdamW, lr=1e-4, weight_decay=5e-4),
    "rmsprop": partial(
        torch.optim.RMSprop, lr=1e-4, alpha=0.99, momentum=0.9, weight_decay=1e-4
    ),
}


def conv_norm(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A residual block: 3x3, 3x3, or 1x1, 3x3, 1x1 to four times the planes."""

    def __init__(self, inputs: int, planes: int, stride: int, bottleneck: bool):
        super().__init__()
        relu, outputs = nn.ReLU(inplace=True), planes * (4 if bottleneck else 1)
        first = [conv_norm(inputs, planes, 1), relu] if bottleneck else []
        middle = conv_norm(planes if bottleneck else inputs, planes, 3, stride)
        last = conv_norm(planes, outputs, 1 if bottleneck else 3)
        self.residual = nn.Sequential(*first, middle, relu, last)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = conv_norm(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.residual(x) + self.shortcut(x), inplace=True)


class Backbone(nn.Module):
    """The ResNet: images `[B, C, H, W]` -> logits, stage outputs, embedding."""

    def __init__(self, model: str, width: int, channels: int, classes: int):
        super().__init__()
        bottleneck, depths = DEPTHS[model]
        self.stem = nn.Sequential(conv_norm(channels, width, 3), nn.ReLU(inplace=True))
        self.stages, inputs = nn.ModuleList(), width
        for i, depth in enumerate(depths):
            blocks, planes = [], width * 2**i
            for j in range(depth):
                stride = 2 if i and not j else 1
                blocks.append(Block(inputs, planes, stride, bottleneck))
                inputs = planes * (4 if bottleneck else 1)
            self.stages.append(nn.Sequential(*blocks))
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor):
        x, outputs = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        embedding = x.mean((2, 3))
        return self.head(embedding), outputs, embedding


class LossModule(nn.Module):
    """Stage outputs -> predicted losses (Yoo & Kweon, arXiv 1905.03677)."""

    def __init__(self, model: str, width: int, features: int = 128):
        super().__init__()
        widths = [width * 2**i * (4 if DEPTHS[model][0] else 1) for i in range(4)]
        self.stages = nn.ModuleList(nn.Linear(w, features) for w in widths)
        self.head = nn.Linear(4 * features, 1)

    def forward(self, stages, detach: bool = False) -> torch.Tensor:
        pooled = [s.mean((2, 3)) for s in stages]
        if detach:
            pooled = [p.detach() for p in pooled]
        hidden = [F.relu(f(p)) for f, p in zip(self.stages, pooled, strict=True)]
        return self.head(torch.cat(hidden, 1)).flatten()


class Network(nn.Module):
    """Backbone and loss module: everything that training and scoring compute."""

    def __init__(self, model: str, width: int, channels: int, classes: int):
        super().__init__()
        self.backbone = Backbone(model, width, channels, classes)
        self.module = LossModule(model, width)

    def forward(self, images: torch.Tensor, detach: bool = False):
        """-> logits `[B, K]`, predicted losses `[B]`, embedding `[B, D]`."""
        logits, stages, embedding = self.backbone(images)
        return logits, self.module(stages, detach), embedding


def joint_loss(
    logits: torch.Tensor, predicted: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy + the ranking loss of pairs (i, n-1-i), both weighing 1."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    logits, predicted = logits.to(wide), predicted.to(wide)
    losses = F.cross_entropy(logits, labels, reduction="none")
    pairs = len(labels) // 2
    if pairs == 0:
        return losses.mean()
    gap = (losses - losses.flip(0)).detach()[:pairs]
    predicted_gap = (predicted - predicted.flip(0))[:pairs]
    sign = torch.where(gap > 0, 1.0, -1.0)
    return losses.mean() + F.relu(1.0 - sign * predicted_gap).mean()


class Augmented(Dataset):
    """One image at a time, as torchvision's crop, flip, ToTensor and Normalize do."""

    def __init__(self, images, labels, mean, std, padding: int | None):
        self.images, self.labels, self.padding = images, labels, padding
        self.mean, self.std = mean.view(-1, 1, 1), std.view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int):
        image = self.images[i].permute(2, 0, 1)
        if self.padding is not None:
            height, width = image.shape[1:]
            image = F.pad(image, (self.padding,) * 4)
            top, left = torch.randint(2 * self.padding + 1, (2,)).tolist()
            image = image[:, top : top + height, left : left + width]
            if torch.rand(()) < 0.5:
                image = image.flip(2)
        image = image.float().div(255).sub(self.mean).div(self.std)
        return image, self.labels[i]


def crop_and_flip(images: torch.Tensor, padding: int) -> torch.Tensor:
    """Crops out of the zero-padded images `[B, H, W, C]` and flips, in one gather."""
    n, height, width, _ = images.shape
    device = images.device
    padded = F.pad(images, (0, 0, padding, padding, padding, padding))
    offsets = torch.randint(2 * padding + 1, (2, n, 1), device=device)
    columns = torch.arange(width, device=device).expand(n, width)
    flip = torch.rand(n, 1, device=device) < 0.5
    columns = torch.where(flip, width - 1 - columns, columns) + offsets[1]
    rows = torch.arange(height, device=device) + offsets[0]
    index = torch.arange(n, device=device)[:, None, None]
    return padded[index, rows[:, :, None], columns[:, None, :]]
