"""Learning Loss as published: CIFAR-10, ResNet18, SGD, against random and entropy.

Source: Yoo & Kweon, *Learning Loss for Active Learning*, CVPR 2019 (arXiv 1905.03677),
section 4.1; each strategy sees a random 10,000 of the unlabelled images. The loss
prediction module is trained only where it is asked, as in the paper.

Expected (their figure, n = 5) at 1,000 / 5,000 / 10,000 labels, in percent: random
51.0 / 80.4 / 87.6, entropy 51.0 / 83.0 / 90.5, learning loss 50.9 / 85.0 / 91.0.

Command: python launch.py --config=configs/cifar10_learning_loss.py --workdir=runs/ll
"""

from aljax.config import Config, Data, LossPrediction


def get_config() -> Config:
    return Config(
        data=Data(name="cifar10"),
        loss_prediction=LossPrediction(train="needed"),
        sweep={"strategy": ("random", "entropy", "learning_loss")},
    )
