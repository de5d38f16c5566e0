"""The process environment that fast CPU work wants, set before anything is loaded.

Training allocates and frees arrays of many megabytes. By default glibc gives each back
to the kernel, and every fresh page costs a fault; with huge pages, and with memory kept
for the next array, a copy runs three times as fast. glibc reads its settings when a
process starts, so the process starts itself again, once.
"""

import os
import platform
import sys

TUNABLES = {
    "glibc.malloc.hugetlb": "1",  # ask for transparent huge pages
    "glibc.malloc.mmap_max": "0",  # large arrays come from the heap
    "glibc.malloc.trim_threshold": "1000000000000",  # and go back to it
}
_MARK = "ALJAX_ENVIRONMENT"


def tunables(present: str) -> str:
    """Adds to `GLIBC_TUNABLES` what it does not set yet; what is set stays."""
    named = {item.split("=", 1)[0] for item in present.split(":") if item}
    added = [f"{name}={value}" for name, value in TUNABLES.items() if name not in named]
    return ":".join([item for item in present.split(":") if item] + added)


def prepare() -> None:
    """Starts this script again with the allocator's settings, on glibc 2.35 or newer.

    Nothing happens where they are set already, or with ALJAX_ENVIRONMENT=keep.
    """
    library, version = platform.libc_ver()
    wanted = tunables(os.environ.get("GLIBC_TUNABLES", ""))
    if os.environ.get(_MARK) or library != "glibc":
        return
    if tuple(int(part) for part in version.split(".")[:2]) < (2, 35):
        return
    os.environ.update({"GLIBC_TUNABLES": wanted, _MARK: "set"})
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
