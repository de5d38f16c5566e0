"""The study as its authors ran it: weights carry over from one trial to the next.

Source: KSM-16/ML-Project-6321 at 216606f builds each network once, before the loop over
trials, and its published results show 38-52 % at 1,000 labels in trial 1 and 73-89 % in
trials 2-5. This recipe is here to show that; what it writes is marked leaky and says
nothing about active learning.

Expected, ResNet18 + SGD: about 42-51 % at 1,000 labels in trial 1, about 76 % in every
later trial (their results file: 41.55 and a mean of 76.46).

Command: python launch.py --config=configs/report_leak.py --workdir=runs/leak
"""

from aljax.config import Config, Data


def get_config() -> Config:
    return Config(data=Data(name="cifar10"), reset="never")
