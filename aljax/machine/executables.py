"""Compiled programs that the next process loads without tracing them again.

JAX's own cache is asked with a program that was traced and lowered, which takes seconds
for a network. Here a program goes by what it is made of: the code of aljax, a recipe,
devices, shapes, versions and settings. Wherever one of them differs, or a file is not
whole, it is traced and compiled as ever, to the same machine code.
"""

import functools
import hashlib
import os
import pickle
import warnings
from collections.abc import Callable, Hashable
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from jax.experimental import serialize_executable

from aljax.machine import processes
from aljax.machine.devices import Devices

_DIGEST_BYTES = 32


def own_code(thing: Any) -> str | None:
    """Tells a class of aljax, or a call of one, from all others; None for other code.

    Other code may change, or what it imports may, and nobody would know.
    """
    if isinstance(thing, functools.partial):
        thing = thing.func, *thing.args, *sorted(thing.keywords.items())
    if isinstance(thing, tuple):
        parts = [own_code(part) for part in thing]
        return None if None in parts else str(parts)
    if isinstance(thing, type):
        own = thing.__module__.startswith("aljax.")
        return f"{thing.__module__}.{thing.__qualname__}" if own else None
    return repr(thing) if isinstance(thing, int | float | str) else None


class Program:
    """A jitted function, compiled for the shapes that it is called with, or loaded."""

    def __init__(self, jitted: Callable, made_of: Hashable | None, devices: Devices):
        """Compiles nothing yet.

        Args:
            jitted: from `jax.jit`; without static arguments.
            made_of: all that tells it from other functions of the same code; its repr
                is equal in every process. None: it is never kept.
            devices: where it runs.
        """
        self._jitted, self._made_of, self._devices = jitted, made_of, devices
        self._compiled: dict[Hashable, Any] = {}

    def __call__(self, *args: Any) -> Any:
        return self._for(args)(*args)

    def shapes(self, *args: Any) -> Any:
        """Shapes and types of what it returns; compiles it, but computes nothing."""
        info = self._for(args).out_info
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), info)

    def _for(self, args: tuple) -> Callable:
        leaves, tree = jax.tree.flatten(args)
        called_with = tree, *((x.shape, x.dtype) for x in leaves)
        if called_with not in self._compiled:
            self._compiled[called_with] = self._load(args) or self._compile(args)
        return self._compiled[called_with]

    def _file(self, args: tuple) -> Path | None:
        folder = jax.config.jax_compilation_cache_dir
        if not folder or self._made_of is None or processes.count() > 1:
            return None
        shapes = [(str(path), x.shape, str(x.dtype)) for path, x in _leaves(args)]
        mesh = self._devices.mesh.devices.flat
        where = self._devices.executor, [(d.id, d.device_kind) for d in mesh]
        made_of = self._made_of, shapes, where, _surroundings()
        name = hashlib.sha256(repr(made_of).encode()).hexdigest()
        return Path(folder) / "whole" / name

    def _load(self, args: tuple) -> Callable | None:
        file = self._file(args)
        if file is None or not file.exists():
            return None
        found = file.read_bytes()
        digest, content = found[:_DIGEST_BYTES], found[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        machine_code, returns = pickle.loads(content)
        return serialize_executable.deserialize_and_load(
            machine_code,
            jax.tree.structure((args, {})),
            jax.tree.structure(returns),
            execution_devices=list(self._devices.mesh.devices.flat),
        )

    def _compile(self, args: tuple) -> Callable:
        compiled = self._jitted.lower(*args).compile()
        file = self._file(args)
        if file is not None:
            returns = jax.tree.map(lambda x: x.dtype, compiled.out_info)
            code = serialize_executable.serialize(compiled)[0]
            _write(file, pickle.dumps((code, returns)))
        return compiled


def _leaves(args: tuple) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(args)


@functools.cache
def _surroundings() -> str:
    """What every program depends on: code, versions, settings of JAX and XLA."""
    package, code = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        code.update(str(file.relative_to(package)).encode() + file.read_bytes())
    packages = "jax", "jaxlib", "flax", "optax", "numpy"
    versions = [metadata.version(package) for package in packages]
    settings = {k: v for k, v in jax.config.values.items() if "cache" not in k}
    flags = os.environ.get("XLA_FLAGS")
    return repr((code.hexdigest(), versions, sorted(settings.items()), flags))


def _write(file: Path, content: bytes) -> None:
    """Writes a file whole or not at all; a full disk only costs the next start."""
    partly = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partly.write_bytes(hashlib.sha256(content).digest() + content)
        partly.replace(file)
    except OSError as error:
        warnings.warn(f"{file}: a compiled program was not kept: {error}", stacklevel=2)
