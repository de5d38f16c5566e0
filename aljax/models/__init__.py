"""The networks: name -> constructor, in one table.

A network is a Flax Linen module. Everything else of aljax knows it by this contract:

    network = MODELS[name](classes=K, width=64, dtype=jnp.float32, axis_name=None)
    features = network.apply(variables, x, mask, train=True, mutable=["batch_stats"])

Constructor, all by keyword:
    classes    K, the number of logits.
    width      a size of its own, of which `config.width` gives the value.
    dtype      of the arithmetic, float32 or bfloat16; weights stay float32.
    axis_name  devices that share each batch; its statistics are those of all of them.
               None: each device keeps to its own rows.

Call `(x, mask=None, train=False) -> Features`:
    x      `[B, H, W, C]` float32, normalised; H and W are multiples of 32. Its B rows
           are this device's part of the batch, or the one image that weights are
           drawn for.
    mask   `[B]` float32, 1 for an image, 0 for padding, which may hold anything and
           may change no statistics. None when not training.
    train  whether to normalise by the batch and to update the running statistics.

It has the collection "params" and, if it likes, "batch_stats"; a network that
normalises by no batch ignores `mask`. `Features` says which of its fields may be left
out. It draws no random numbers beside its first weights, unless it takes `dropout=None`
too: a layer `[B, D] -> [B, D]` to call before its last one, for such as BALD.
"""

from functools import partial

from aljax.models.dropout import Dropout
from aljax.models.loss_prediction import LossPredictionModule, ranking_loss
from aljax.models.resnet import BasicBlock, Bottleneck, Features, ResNet

MODELS = {
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(ResNet, Bottleneck, (3, 4, 23, 3)),
    "resnet152": partial(ResNet, Bottleneck, (3, 8, 36, 3)),
}

__all__ = [
    "MODELS",
    "Dropout",
    "Features",
    "LossPredictionModule",
    "ResNet",
    "ranking_loss",
]
