"""Real CIFAR-10 on two CPU cores: a ResNet18 of width 16, a few epochs, one trial.

Source: none; the study's recipe made small. A network this narrow and this briefly
trained is far from the published accuracies: it shows the software and the shape of the
curves, not the method.

Command: python launch.py --config=configs/cifar10_cpu.py
"""

from aljax.config import Config, Data, LossPrediction, Schedule


def get_config() -> Config:
    return Config(
        data=Data(name="cifar10"),
        width=16,
        epochs=15,
        trials=1,
        schedule=Schedule(milestones=(12,)),
        loss_prediction=LossPrediction(detach_epoch=9),
        sweep={"strategy": ("random", "learning_loss")},
    )
