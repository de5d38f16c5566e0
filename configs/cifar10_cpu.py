"""Real CIFAR-10 on two CPU cores: a ResNet18 of width 16, four epochs, one trial.

Source: none; the study's recipe made small, with batches of 64 so that a short training
still makes enough steps. A network this narrow and this briefly trained is far from the
published accuracies: it shows the software and the shape of the curves, no more.

Expected: no curve is kept; `configs/cifar10_study.py` trains longer, and has some.

Command: python launch.py --config=configs/cifar10_cpu.py
"""

from aljax.config import Config, Data, LossPrediction, Schedule
from aljax.optimizers import Sgd


def get_config() -> Config:
    config = Config(
        data=Data(name="cifar10"),
        width=16,
        epochs=4,
        batch_size=64,
        trials=1,
        schedule=Schedule(milestones=(3,)),
        loss_prediction=LossPrediction(detach_epoch=3),
        sweep={"strategy": ("random", "learning_loss")},
    )
    config.optimizers["sgd"] = Sgd(learning_rate=0.05)
    return config
