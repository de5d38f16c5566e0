"""The study's own recipe: CIFAR-10, ten cycles of 1,000 labels, 200 epochs, 5 trials.

Source: the authors' code, KSM-16/ML-Project-6321 at 216606f, of the report *Exploring
the Role of Optimizers and Architectures in Active Learning*; settings of all four
optimizers below. Their networks were warm-started through all cycles and trials, so
that what one trial learned of the labels leaked into the next. Here every cycle starts
from fresh weights; `configs/report_leak.py` repeats theirs, and names what else their
code does in another way.

Expected, ResNet18 + SGD: 46-51 % at 1,000 labels, 80-85 % at 5,000, 89.5-91 % at 10,000
(Ji et al., eval-al, WACV 2023, n = 3; Yoo & Kweon, CVPR 2019, figure, n = 5). More than
about 60 % at 1,000 labels means that labels leak. A run trains on 11 million images
(200 epochs of 1,000 to 10,000): divide by the images/s of your device. With its
baseline: --config.sweep="{'strategy': ('random', 'learning_loss')}".

Command: python launch.py --config=configs/cifar10_report.py --workdir=runs/report
"""

from aljax.config import Config, Data
from aljax.optimizers import Adam, AdamW, RmsProp, Sgd


def get_config() -> Config:
    config = Config(data=Data(name="cifar10"))
    config.optimizers |= {
        "sgd": Sgd(learning_rate=0.1, momentum=0.9, weight_decay=5e-4),
        "adam": Adam(learning_rate=1e-4, weight_decay=1e-4),
        "adamw": AdamW(learning_rate=1e-4, weight_decay=5e-4),
        "rmsprop": RmsProp(
            learning_rate=1e-4, decay=0.99, momentum=0.9, weight_decay=1e-4
        ),
    }
    return config
