"""The networks: name -> constructor, in one table."""

from functools import partial

from aljax.models.loss_prediction import LossPredictionModule, ranking_loss
from aljax.models.resnet import BasicBlock, Bottleneck, Features, ResNet

MODELS = {
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(ResNet, Bottleneck, (3, 4, 23, 3)),
    "resnet152": partial(ResNet, Bottleneck, (3, 8, 36, 3)),
}

__all__ = ["MODELS", "Features", "LossPredictionModule", "ResNet", "ranking_loss"]
