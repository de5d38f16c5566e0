"""Randomness: every key is made of (seed, trial, cycle, purpose), and nothing else.

What JAX draws from a key also depends on settings of JAX: loading this file pins them.
"""

import jax
import numpy as np

from aljax.machine import numerics

numerics.pin()

# What a key is for; the numbers are part of every result, so they never change.
PURPOSES = {
    "initial": 0,
    "weights": 1,
    "train": 2,
    "subset": 3,
    "query": 4,
    "dropout": 5,
    "validation": 6,
}


def key_for(seed: int, trial: int, cycle: int, purpose: str) -> jax.Array:
    """The key of one purpose in one cycle of one trial, whatever else is run."""
    key = jax.random.key(seed)
    for number in (trial, cycle, PURPOSES[purpose]):
        key = jax.random.fold_in(key, number)
    return key


def host_random(key: jax.Array) -> np.random.Philox:
    """Random bits for the host, seeded by a key."""
    high, low = (int(word) for word in jax.random.key_data(key))
    return np.random.Philox(key=(high << 32) | low)
