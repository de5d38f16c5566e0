"""The study as its authors ran it: weights carry over from one trial to the next.

Source: KSM-16/ML-Project-6321 at 216606f builds each network once, before the loop over
trials, and trains it on through all cycles of all trials; only the loss prediction
module is new in each trial. Its published results show 38-52 % at 1,000 labels in trial
1 and 73-89 % in trials 2-5. This recipe is here to show that; what it writes is marked
leaky and says nothing about active learning.

Kept of their code: the leak (`reset=never`), detaching by `epoch > 120` on epochs
counted from 0 (`detach_epoch=121`), and crops padded after normalising, hence with the
mean colour (`padding="mean"`). Not kept: they visit the same batches, with the same
pairs of images, in the same order in every epoch (here both are shuffled), score
augmented images of the pool (here, images as they are), and draw everything from one
random generator (here, from seed, trial, cycle and purpose).

Expected, ResNet18 + SGD: about 42-51 % at 1,000 labels in trial 1, about 76 % in every
later trial (their results file: 41.55 and a mean of 76.46).

Command: python launch.py --config=configs/report_leak.py --workdir=runs/leak
"""

from aljax.config import Augmentation, Config, Data, LossPrediction


def get_config() -> Config:
    return Config(
        data=Data(name="cifar10"),
        reset="never",
        augmentation=Augmentation(padding="mean"),
        loss_prediction=LossPrediction(detach_epoch=121),
    )
