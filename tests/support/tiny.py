"""A tiny experiment, and what carries it out."""

from pathlib import Path

import numpy as np

from aljax.config import Config, LossPrediction, Schedule
from aljax.data import Dataset
from aljax.grid import expand
from aljax.runs.experiment import run_group
from aljax.runs.folder import RunFolder

# What may differ between two runs that are the same.
COSTS = {
    "train_seconds",
    "evaluate_seconds",
    "query_seconds",
    "compile_seconds",
    "train_images_per_second",
    "score_images_per_second",
    "peak_device_bytes",
    "peak_host_bytes",
}
CONFIG = Config(
    model="tiny",
    width=4,
    epochs=3,
    batch_size=8,
    trials=1,
    cycles=3,
    initial=13,
    budget=10,
    pool_subset=50,
    score_batch_size=64,
    checkpoint_seconds=0.0,
    schedule=Schedule(milestones=(2,)),
    loss_prediction=LossPrediction(detach_epoch=2),
)


# Of no use but to have classes and a fingerprint.
IMAGES = Dataset(
    "none",
    np.zeros((2, 32, 32, 1), np.uint8),
    np.array([0, 1], np.int32),
    np.zeros((1, 32, 32, 1), np.uint8),
    np.array([1], np.int32),
    ("cat", "dog"),
    (0.0,),
    (1.0,),
)


def results(rows):
    return [{k: v for k, v in row.items() if k not in COSTS} for row in rows]


def run(session, config, workdir, trial=None):
    """Runs a configuration, or one trial of it; returns the rows of each run."""
    rows = []
    for group in expand(config):
        if trial is None or group[0].trial == trial:
            run_group(session, group, Path(workdir))
            rows += [
                RunFolder(Path(workdir) / member.folder).rows() for member in group
            ]
    return rows
