"""The whole study: 3 networks x 4 optimizers x 2 strategies x 5 trials, 120 runs.

Source: the recipe of `configs/cifar10_report.py`, with random as the baseline that the
report lacks. Runs of the same trial begin with the same 1,000 images, and those of one
network with the same weights.

Expected: see `configs/cifar10_report.py`; for other pairs than ResNet18 + SGD the only
published curves from scratch are the first trials of the authors' own results.

Command: python launch.py --config=configs/grid.py --workdir=runs/grid
An eighth of it: the same with --shard=1/8.
"""

from aljax.config import Config, Data


def get_config() -> Config:
    return Config(
        data=Data(name="cifar10"),
        sweep={
            "model": ("resnet18", "resnet34", "resnet50"),
            "optimizer": ("sgd", "adam", "adamw", "rmsprop"),
            "strategy": ("random", "learning_loss"),
        },
    )
