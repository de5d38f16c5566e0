"""Devices and how programs run on them: the only file that knows them.

Programs are written for one device and speak to the others through collectives over a
named axis; here they are mapped over a mesh.
"""

import functools
import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "data"
EVERYWHERE = PartitionSpec()  # the same value on every device
SPLIT = PartitionSpec(AXIS)  # the first dimension shared out


def make_mesh(devices: int | None = None) -> Mesh:
    """Lines up the first `devices` devices, or all of them."""
    found = jax.devices()
    if devices is not None and not 1 <= devices <= len(found):
        raise ValueError(
            f"--devices={devices}: this machine has {len(found)}; "
            f"choose 1 to {len(found)}."
        )
    return Mesh(np.array(found[:devices]), (AXIS,))


def spmd(f: Callable, mesh: Mesh, in_specs, out_specs, donate=()) -> Callable:
    """Compiles a per-device function for all devices of a mesh.

    Replication is not tracked (`check_vma=False`): the gradient of a tracked parameter
    arrives already summed, and a sum in `f` would count every device again.

    Args:
        f: function of local arrays; collectives name `AXIS`.
        mesh: the devices.
        in_specs: EVERYWHERE or SPLIT for each argument.
        out_specs: the same for each result.
        donate: positions of arguments whose memory the results may take.
    """
    mapped = jax.shard_map(
        f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )
    return jax.jit(mapped, donate_argnums=donate, compiler_options=_cpu_options())


@functools.cache
def _cpu_options() -> dict[str, str] | None:
    """Options for XLA's CPU compiler; None on other platforms or if it lacks them.

    By default it hands convolutions to YNNPACK, whose kernels for their gradients take
    two to three times as long as its own.
    """
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}
    chosen = any(name in os.environ.get("XLA_FLAGS", "") for name in options)
    if jax.default_backend() != "cpu" or chosen:
        return None
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return None
    return options


def use_compile_cache(folder: str) -> None:
    """Keeps compiled programs in a folder, for the next process; empty: does not.

    Programs for a CPU are machine code, so each kind of machine gets its own subfolder.
    """
    if not folder:
        return
    described = f"{processor()} {jax.version.__version__} {jax.default_backend()}"
    kind = hashlib.sha256(described.encode()).hexdigest()[:12]
    path = Path(folder).expanduser() / f"{jax.default_backend()}-{kind}"
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def processor() -> str:
    """The CPU's model name and the number of cores this process may use."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {cores()} cores"


def cores() -> int:
    """CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def check_share(field: str, size: int, mesh: Mesh) -> None:
    """Refuses a batch that the devices of a mesh cannot share evenly: ValueError."""
    devices = mesh.size
    if size % devices:
        below, above = size // devices * devices, (size // devices + 1) * devices
        fit = " or ".join(str(fitting) for fitting in (below, above) if fitting)
        raise ValueError(
            f"--config.{field}: {size} images cannot be shared evenly by {devices} "
            f"devices; choose {fit}."
        )


def replicate(tree, mesh: Mesh):
    """Puts a copy of every array of `tree` on every device."""
    return jax.device_put(tree, NamedSharding(mesh, EVERYWHERE))
