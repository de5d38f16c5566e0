"""Learning rates of a recipe's optimizers, compared on images that it holds out.

Source: none. Five rates for each optimizer, a factor of about 3 apart, around what is
usual for it. Of 1,500 images bought at random 500 are held out of training, and rates
are compared on these: the test set is never read. Everything else is the recipe's.

Expected: `python benchmarks/tuning.py runs/tune` prints every rate that was tried, the
accuracy on what was held out, and the best; a best rate at an end of what was tried is
no best rate yet, and asks for more (`--config.sweep`).

Command: python launch.py --config=configs/tune.py --workdir=runs/tune --noreport
In a workdir of its own, another recipe's: --config=configs/tune.py:cifar10_report
Or other settings, by a grid of one's own, such as --config.optimizer=sgd
--config.sweep="{'optimizers.sgd.weight_decay': (0.0, 0.0005, 0.005)}"
"""

from aljax.config import Config
from aljax.recipes import load_config

RATES = {
    "sgd": (0.3, 0.1, 0.03, 0.01, 0.003),
    "adam": (0.01, 0.003, 0.001, 0.0003, 0.0001),
    "adamw": (0.01, 0.003, 0.001, 0.0003, 0.0001),
    "rmsprop": (0.001, 0.0003, 0.0001, 0.00003, 0.00001),
}


def get_config(recipe: str = "cifar10_study") -> Config:
    config = load_config(recipe)
    config.strategy = "random"
    config.trials, config.cycles = 2, 1
    config.initial, config.validation = 1500, 500
    config.sweep = {
        "model": ("resnet18", "resnet34", "resnet50"),
        "optimizer": tuple(RATES),
        **{f"optimizers.{name}.learning_rate": r for name, r in RATES.items()},
    }
    return config
