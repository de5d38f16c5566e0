"""Three cycles of learning loss and of random on embedded images, in minutes on a CPU.

Source: none; a narrow ResNet18 and few epochs, made to show every part at work.
Command: python launch.py
"""

from aljax.config import Config, LossPrediction, Schedule


def get_config() -> Config:
    return Config(
        width=8,
        epochs=10,
        trials=1,
        cycles=3,
        initial=200,
        budget=200,
        batch_size=40,
        pool_subset=2000,
        schedule=Schedule(milestones=(8,)),
        loss_prediction=LossPrediction(detach_epoch=6),
        sweep={"strategy": ("random", "learning_loss")},
    )
