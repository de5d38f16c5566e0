"""Devices and how programs run on them: the only file that knows them.

Programs are written for one device and speak to the others through collectives over a
named axis; here they are mapped over a mesh, by one of two executors that give the same
results: `jax.jit(jax.shard_map)`, or `jax.pmap`.
"""

import functools
import hashlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from aljax.lookup import check_name
from aljax.platforms import made_for

AXIS = "data"
EVERYWHERE = PartitionSpec()  # the same value on every device
SPLIT = PartitionSpec(AXIS)  # the first dimension shared out
EXECUTORS = ("shard_map", "pmap")
_OPTIONS = {  # by platform
    "gpu": {
        "xla_gpu_exclude_nondeterministic_ops": True,
        # Stage outputs in bfloat16 would be kept in float32 for the loss module.
        "xla_allow_excess_precision": False,
    }
}
COMPILE_CACHE = "~/.cache/aljax/programs"  # where compiled programs are kept


@dataclass(frozen=True)
class Devices:
    """Devices in a line, and what maps functions over them: one of EXECUTORS."""

    mesh: Mesh
    executor: str = "shard_map"

    @property
    def size(self) -> int:
        return self.mesh.size

    @property
    def platform(self) -> str:
        """What they are, as JAX calls it: `cpu`, `gpu` …"""
        return self.mesh.devices.flat[0].platform

    @property
    def ahead(self) -> int:
        """Batches to be given before one is done: none where the host computes."""
        return 0 if self.platform == "cpu" else 2


def choose_devices(count: int | None = None, executor: str = "shard_map") -> Devices:
    """Lines up the first `count` devices, or all of them.

    Raises:
        ValueError: there are not so many, or there is no such executor.
    """
    try:
        found, processes = jax.devices(), jax.process_count()
    except (RuntimeError, AssertionError) as error:  # the latter without a word
        wanted = os.environ.get("JAX_PLATFORMS", "")
        raise ValueError(
            f"JAX_PLATFORMS={wanted}: JAX finds no such device here; unset it, or "
            "install what JAX needs for it, such as aljax[cuda] for NVIDIA GPUs."
        ) from error
    check_name(EXECUTORS, "--parallel", executor)
    if processes > 1:
        return Devices(_over_processes(found, processes, count, executor), executor)
    if count is not None and not 1 <= count <= len(found):
        fit = f"1 to {len(found)}" if len(found) > 1 else "1"
        raise ValueError(
            f"--devices={count}: this machine has {len(found)}; choose {fit}."
        )
    return Devices(Mesh(np.array(found[:count]), (AXIS,)), executor)


def _over_processes(found, processes, count, executor) -> Mesh:
    """Lines up as many devices of each process: all take part in all work."""
    if executor == "pmap":
        raise ValueError(
            f"--parallel=pmap maps over the devices of one process, and there are "
            f"{processes}; choose shard_map."
        )
    by_process = [[d for d in found if d.process_index == i] for i in range(processes)]
    most = min(map(len, by_process))
    each, rest = divmod(most * processes if count is None else count, processes)
    if rest or not 1 <= each <= most:
        fit = ", ".join(str(n * processes) for n in range(1, most + 1))
        raise ValueError(
            f"--devices={count}: {processes} processes have {most} devices each and "
            f"use as many of their own; choose {fit}."
        )
    return Mesh(np.array([d for own in by_process for d in own[:each]]), (AXIS,))


def connect(devices: Devices) -> None:
    """Connects the devices of several processes, all of which must call it.

    On CPUs a process that is 30 s late for the first collective of its devices is taken
    for lost; later ones wait. So they meet before one compiles for longer than that.
    """
    if jax.process_count() > 1:
        program = spmd(lambda x: lax.psum(x, AXIS), devices, (EVERYWHERE,), EVERYWHERE)
        jax.block_until_ready(program(np.float32(1)))


def spmd(
    f: Callable,
    devices: Devices,
    in_specs,
    out_specs,
    donate=(),
    convolves: bool = True,
) -> Callable:
    """Compiles a per-device function for all devices.

    Args:
        f: function of local arrays; collectives name `AXIS`.
        devices: where it runs, and the executor.
        in_specs: a tuple with EVERYWHERE or SPLIT for each argument.
        out_specs: the same for each result.
        donate: positions of arguments whose memory the results may take.
        convolves: whether it has convolutions, which CPUs are compiled for otherwise
            than for products of large matrices.
    """
    mappers = {"shard_map": _shard_map, "pmap": _pmap}
    platform = devices.platform

    @functools.wraps(f)
    def local(*args):
        with made_for(platform):
            return f(*args)

    mapped = mappers[devices.executor](local, devices.mesh, in_specs, out_specs)
    options = _options(platform, convolves)
    return jax.jit(mapped, donate_argnums=donate, compiler_options=options)


def _shard_map(f, mesh, in_specs, out_specs):
    # Replication is not tracked (check_vma): a tracked parameter's gradient arrives
    # already summed, and a sum in `f` would count every device again.
    return jax.shard_map(
        f, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )


def _pmap(f, mesh, in_specs, out_specs):
    """Maps as `_shard_map` does, by `jax.pmap`, which wants a dimension of its own."""
    in_axes, out_axes = (_per_spec(_axis, x) for x in (in_specs, out_specs))
    mapped = jax.pmap(
        lambda rank, *args: f(*args),  # pmap wants an argument that is mapped
        axis_name=AXIS,
        in_axes=(0, *in_axes),
        out_axes=out_axes,
        devices=list(mesh.devices.flat),
    )

    def cut(x):
        return x.reshape(mesh.size, x.shape[0] // mesh.size, *x.shape[1:])

    def join(x):
        return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])

    def run(*args):
        results = mapped(np.arange(mesh.size), *_split_parts(cut, in_specs, args))
        return _split_parts(join, out_specs, results)

    return run


def _axis(spec):
    return 0 if spec == SPLIT else None


def _per_spec(change, specs, *values):
    """Maps over EVERYWHERE and SPLIT, and what of `values` each stands for."""
    return jax.tree.map(
        change, specs, *values, is_leaf=lambda x: isinstance(x, PartitionSpec)
    )


def _split_parts(change, specs, values):
    """Changes every array of `values` that is SPLIT."""
    return _per_spec(
        lambda spec, part: jax.tree.map(change, part) if spec == SPLIT else part,
        specs,
        values,
    )


def _options(platform: str, convolves: bool) -> dict | None:
    """Options for XLA's compiler on a platform, but those that XLA_FLAGS names."""
    if platform == "cpu":
        return _cpu_options() if convolves else None
    chosen = os.environ.get("XLA_FLAGS", "")
    return {k: v for k, v in _OPTIONS.get(platform, {}).items() if k not in chosen}


@functools.cache
def _cpu_options() -> dict[str, str] | None:
    """Options for XLA's CPU compiler; None if XLA_FLAGS names them or it lacks them.

    By default it hands convolutions to YNNPACK, whose kernels for their gradients take
    two to three times as long as its own.
    """
    flag = "xla_cpu_experimental_ynn_fusion_type"
    if flag in os.environ.get("XLA_FLAGS", ""):
        return None
    options = {flag: ""}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return None
    return options


def cache_folder(folder: str) -> Path | None:
    """Where compiled programs are kept; None: nowhere, as without that home."""
    path = os.path.expanduser(folder)
    return None if path.startswith("~") or not folder else Path(path)


def use_compile_cache(folder: str) -> None:
    """Keeps compiled programs in a folder, for the next process; empty: does not.

    Programs for a CPU are machine code, so each kind of machine gets its own subfolder.
    """
    if (home := cache_folder(folder)) is None:
        return
    described = f"{processor()} {jax.version.__version__} {jax.default_backend()}"
    kind = hashlib.sha256(described.encode()).hexdigest()[:12]
    path = home / f"{jax.default_backend()}-{kind}"
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    # Which of a GPU's algorithms were fastest is kept too: others give other bits.
    tuned = "xla_gpu_per_fusion_autotune_cache_dir"
    jax.config.update("jax_persistent_cache_enable_xla_caches", tuned)


def processor() -> str:
    """The CPU's model name and the number of cores this process may use."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")]
    # Never worded otherwise: runs and compiled programs are told apart by it.
    return f"{names[0] if names else platform.machine()}, {cores()} cores"


def usable_cores() -> list[int]:
    """The numbers of the CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def cores() -> int:
    """How many CPU cores this process may use."""
    return len(usable_cores())


def check_share(field: str, size: int, count: int) -> None:
    """Refuses a batch that `count` devices cannot share evenly: ValueError."""
    if size % count:
        below, above = size // count * count, (size // count + 1) * count
        fit = " or ".join(str(fitting) for fitting in (below, above) if fitting)
        raise ValueError(
            f"--config.{field}: {size} images cannot be shared evenly by {count} "
            f"devices; choose {fit}, or --devices that divide it."
        )


def replicate(tree, devices: Devices):
    """Puts a copy of every array of `tree` on every device.

    Every process must give the same values; JAX compares them.
    """
    everywhere = NamedSharding(devices.mesh, EVERYWHERE)

    def put(x):
        is_key = jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
        if is_key and devices.mesh.is_multi_process:  # which device_put refuses
            return jax.random.wrap_key_data(put(jax.random.key_data(x)))
        return jax.device_put(x, everywhere)

    return jax.tree.map(put, tree)


def fetch(x: jax.Array) -> np.ndarray:
    """Copies an array to the host, whichever processes have its parts."""
    if x.is_fully_addressable:
        return np.asarray(x)
    return multihost_utils.process_allgather(x, tiled=True)
