"""Which platform a program is made for, known while it is traced.

`jax.lax.platform_dependent` says it when a program is lowered, for which all ways of
all platforms are traced first: half of the time until a network starts.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax

_platform: ContextVar[str | None] = ContextVar("platform", default=None)


@contextlib.contextmanager
def made_for(platform: str) -> Iterator[None]:
    """What is traced meanwhile is for devices of this platform, such as `cpu`."""
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)


def by_platform(*args: Any, cpu: Callable, default: Callable) -> Any:
    """Calls one of two functions that give the same, one of them made for CPUs."""
    chosen = _platform.get() or jax.default_backend()
    return (cpu if chosen == "cpu" else default)(*args)
