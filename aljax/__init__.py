"""Deep active-learning experiments in JAX that run fast, resume, and can be believed.

    import aljax
    config = aljax.load_config("quickstart", epochs=2)
    runs = aljax.run(config, workdir="runs/mine")
    runs.frame()

Letters used for shapes everywhere:
    N  images          B  images in a batch     K  classes
    H  image height    W  image width           C  channels
    D  width of the pooled embedding            L  labelled images
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# What the door shows, and where it lives: nothing is loaded before it is asked for.
_SHOWN = {
    "run": "aljax.launch.python",
    "load_config": "aljax.launch.python",
    "Runs": "aljax.launch.python",
    "Config": "aljax.config",
    "Data": "aljax.config",
    "MODELS": "aljax.models",
    "Features": "aljax.models",
    "OPTIMIZERS": "aljax.optimizers",
    "STRATEGIES": "aljax.strategies",
    "Strategy": "aljax.strategies",
    "Outputs": "aljax.strategies",
    "by_score": "aljax.strategies",
    "DATASETS": "aljax.data",
    "Dataset": "aljax.data",
    "Preempted": "aljax.machine.preemption",
}
_ROOMS = ("metrics", "report")  # modules to be had as `aljax.report`
__all__ = ["__version__", *_SHOWN, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"aljax.{name}")
    if name not in _SHOWN:
        raise AttributeError(f"module 'aljax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_SHOWN[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_SHOWN, *_ROOMS})
