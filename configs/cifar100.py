"""The study's recipe on CIFAR-100: 100 classes, budgets of 2,500 labels, up to 25,000.

Source: the recipe of `configs/cifar10_report.py`, with budgets of 5 % of the pool like
Sinha et al., VAAL, ICCV 2019 (arXiv 1904.00370). The strategies see the whole pool.

Expected: we know of no published curve under this recipe.

Command: python launch.py --config=configs/cifar100.py --workdir=runs/cifar100
"""

from aljax.config import Config, Data


def get_config() -> Config:
    return Config(
        data=Data(name="cifar100"),
        initial=2500,
        budget=2500,
        pool_subset=None,
        sweep={"strategy": ("random", "entropy", "margin", "learning_loss")},
    )
