"""One of two ways is traced: that of the platform for which a program is made."""

import jax
import jax.numpy as jnp

from aljax.machine.devices import EVERYWHERE, choose_devices, spmd
from aljax.platforms import by_platform, made_for


def test_only_the_way_of_the_platform_is_traced():
    seen = []

    def way(name):
        return lambda x: seen.append(name) or x

    def choose(x):
        return by_platform(x, cpu=way("cpu"), default=way("default"))

    jax.eval_shape(choose, jnp.ones(2))
    assert seen == ["cpu"]
    with made_for("gpu"):
        jax.eval_shape(lambda x: choose(x), jnp.ones(2))
        # A program is for the devices that it runs on, whatever is around it.
        spmd(choose, choose_devices(1), (EVERYWHERE,), EVERYWHERE)(jnp.ones(2))
    assert seen == ["cpu", "default", "cpu"]
