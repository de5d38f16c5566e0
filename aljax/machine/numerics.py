"""Settings of JAX that numbers depend on: the same wherever aljax runs, and recorded.

JAX takes them from the environment or from whoever changed them in this process; a key
would then draw other numbers, and a resumed run would go on as another one.
"""

import jax

SETTINGS = {
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_enable_x64": False,
    "jax_default_matmul_precision": None,  # float32 on CPUs, TF32 on NVIDIA's GPUs
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
}


def pin() -> None:
    """Sets what keys and bits depend on, for this process."""
    for name, value in SETTINGS.items():
        jax.config.update(name, value)
