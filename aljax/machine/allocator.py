"""The process environment that fast CPU work wants, set before anything is loaded.

Training allocates and frees arrays of many megabytes. By default glibc gives each back
to the kernel, and every fresh page costs a fault; with huge pages, and with memory kept
for the next array, a copy runs three times as fast. glibc reads its settings when a
process starts, so the process starts itself again, once. What compiling leaves free is
given back at once: it is hundreds of megabytes that nothing else would fill.
"""

import ctypes
import functools
import os
import platform
import sys

TUNABLES = {
    "glibc.malloc.hugetlb": "1",  # ask for transparent huge pages
    "glibc.malloc.mmap_max": "0",  # large arrays come from the heap
    "glibc.malloc.trim_threshold": "1000000000000",  # and go back to it
}
COMPILED = "/jax/core/compile/backend_compile_duration"
# What took less to compile leaves little, and looking through a large heap takes time.
_LONG_SECONDS = 0.5
_MARK = "ALJAX_ENVIRONMENT"


def glibc() -> tuple[int, ...]:
    """The version of glibc; empty where the C library is another one."""
    library, version = platform.libc_ver()
    return tuple(map(int, version.split("."))) if library == "glibc" else ()


def tunables(present: str) -> str:
    """Adds to `GLIBC_TUNABLES` what it does not set yet; what is set stays."""
    named = {item.split("=", 1)[0] for item in present.split(":") if item}
    added = [f"{name}={value}" for name, value in TUNABLES.items() if name not in named]
    return ":".join([item for item in present.split(":") if item] + added)


def prepare() -> None:
    """Starts this command again with the allocator's settings, on glibc 2.35 or newer.

    Nothing happens where they are set already, or with ALJAX_ENVIRONMENT=keep.
    """
    if os.environ.get(_MARK) or glibc() < (2, 35):
        return
    wanted = tunables(os.environ.get("GLIBC_TUNABLES", ""))
    os.environ.update({"GLIBC_TUNABLES": wanted, _MARK: "set"})
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@functools.cache
def trim_after_compiling() -> None:
    """Gives free memory back to the kernel after each large program that is compiled.

    However often it is called, that is done once. Does nothing where the C library is
    not glibc.
    """
    if not glibc():
        return
    from jax import monitoring

    trim = ctypes.CDLL(None).malloc_trim

    def listen(event: str, seconds: float, **kwargs) -> None:
        if event == COMPILED and seconds > _LONG_SECONDS:
            trim(0)

    monitoring.register_event_duration_secs_listener(listen)
