"""Keys depend on all that they are made of, and never change."""

import itertools
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from aljax.keys import PURPOSES, host_random, key_for


def test_every_part_makes_another_key():
    parts = itertools.product((0, 1, 77), (1, 2, 5), (1, 2, 10), PURPOSES)
    keys = [tuple(np.asarray(jax.random.key_data(key_for(*p)))) for p in parts]
    assert len(set(keys)) == len(keys) == 27 * len(PURPOSES)


def test_same_parts_make_the_same_key():
    one, other = key_for(3, 2, 5, "query"), key_for(3, 2, 5, "query")
    assert one == other


# Written results hang on these: they never change.
def test_purposes_never_change():
    numbers = {"initial": 0, "weights": 1, "train": 2, "subset": 3, "query": 4}
    assert {name: PURPOSES[name] for name in numbers} == numbers
    assert sorted(PURPOSES.values()) == list(range(len(PURPOSES)))


def test_key_never_changes():
    data = jax.random.key_data(key_for(3, 2, 5, "weights"))
    assert data.tolist() == [1445411635, 2280325512]


@pytest.mark.parametrize(
    "parts, words",
    [
        ((0, 1, 1, "initial"), [0x7DA78A7359DE541A, 0x7A86CCB41AA2394E]),
        ((3, 2, 5, "query"), [0xA134E2EE84C6DA84, 0x6EE6C852D2EF3391]),
    ],
)
def test_host_random_never_changes(parts, words):
    assert host_random(key_for(*parts)).random_raw(2).tolist() == words


DRAW = """
import jax
from aljax.keys import key_for
key = jax.random.split(key_for(0, 1, 1, "weights"))[0]
print(jax.random.normal(key, (2,))[0])
"""
SURROUNDINGS = {
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
}


def test_draws_do_not_depend_on_the_surroundings():
    done = subprocess.run(
        [sys.executable, "-c", DRAW],
        env=os.environ | SURROUNDINGS,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) == pytest.approx(1.4518847, abs=1e-7)
