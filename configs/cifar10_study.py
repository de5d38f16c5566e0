"""The study at a size for two CPU cores: width 16, 15 epochs, six cycles of 500 labels.

Source: the question of `configs/grid.py` and the recipe of `configs/cifar10_report.py`,
made small: batches of 64; the rate falls, and the module is detached, after the same
share of a training. The learning rates in RATES were searched by `configs/tune.py`; all
other settings of the optimizers are the authors'. Parts, behind a colon:

    resnet18    four optimizers, random and learning loss (what no name stands for)
    resnet34    the same of that network
    resnet50    and of that one
    strategies  every strategy, with Adam, the best of the search
    switch      Adam first, SGD for the last third, beside either alone
    authors     SGD and Adam with the authors' own rates: what tuning changes
    leak        weights fresh in each cycle, kept through a trial, kept for ever
    last_batch  2,496 to 2,528 labels, which leave no last batch, or one of 4 to 32

`resnet18` and `strategies` have five trials, the others three. A run that is in several
parts is the same in each, and its folder may be copied.

Expected, ResNet18, random: Adam 38 % at 500 labels, 55 % at 3,000; SGD 36 and 53 %
(n = 5, CIFAR-10 as JPEG; `benchmarks/study`). What was tried for RATES, and how
accurate it was on held-out images, is in `benchmarks/study/tuning.csv`.

Command: python launch.py --config=configs/cifar10_study.py --workdir=runs/resnet18
A part: the same with --config=configs/cifar10_study.py:leak --workdir=runs/leak
"""

from aljax.config import Config, Data, LossPrediction, Schedule
from aljax.optimizers import Adam, AdamSgd, AdamW, RmsProp, Sgd
from aljax.strategies import STRATEGIES

# Network -> optimizer -> learning rate. A network that is searched is a line here, and
# a part of its name.
RATES = {
    "resnet18": {"sgd": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.00003},
    "resnet34": {"sgd": 0.003, "adam": 0.0003, "adamw": 0.0003, "rmsprop": 0.00003},
    "resnet50": {"sgd": 0.01, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.0001},
}
BOTH = ("random", "learning_loss")
PARTS = {
    **{name: {"optimizer": tuple(RATES[name]), "strategy": BOTH} for name in RATES},
    "authors": {"optimizer": ("sgd", "adam"), "strategy": BOTH},
    "switch": {"optimizer": ("sgd", "adam", "adam_sgd"), "strategy": BOTH},
    "leak": {"reset": ("cycle", "trial", "never")},
    "last_batch": {"initial": (2496, 2500, 2504, 2512, 2528)},
    "strategies": {"optimizer": ("adam",), "strategy": tuple(STRATEGIES)},
}


def tuned(network: str) -> dict:
    """Settings of the optimizers of a network."""
    rate = RATES[network]
    return {
        "sgd": Sgd(rate["sgd"]),
        "adam": Adam(rate["adam"]),
        "adamw": AdamW(rate["adamw"]),
        "rmsprop": RmsProp(rate["rmsprop"]),
        "adam_sgd": AdamSgd(
            rate["adam"], switch_epoch=10, sgd_learning_rate=rate["sgd"]
        ),
    }


def get_config(part: str = "resnet18") -> Config:
    if part not in PARTS:
        raise ValueError(f"there is no part {part!r}; choose one of {', '.join(PARTS)}")
    network = part if part in RATES else "resnet18"
    config = Config(
        data=Data(name="cifar10"),
        model=network,
        strategy="random",
        width=16,
        epochs=15,
        batch_size=64,
        trials=5 if part in ("resnet18", "strategies") else 3,
        cycles=1 if part == "last_batch" else 6,
        initial=500,
        budget=500,
        schedule=Schedule(milestones=(12,)),
        loss_prediction=LossPrediction(detach_epoch=9),
        sweep=PARTS[part],
    )
    if part != "authors":
        config.optimizers |= tuned(network)
    return config
