"""Measuring processes: each prints one line of JSON at its end."""

import contextlib
import json
import os
import resource
import subprocess
import sys

from aljax.machine.allocator import tunables

# What tuned PyTorch has before its process starts: huge pages, and memory kept for the
# next array. The aljax command sets glibc so for itself.
TORCH_ENVIRONMENT = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "GLIBC_TUNABLES": tunables(os.environ.get("GLIBC_TUNABLES", "")),
}
LAST_SECONDS = 20.0  # for a process that was asked to stop, to save what it has


def printed(
    line: list[str],
    environment: dict[str, str] | None = None,
    seconds: float | None = None,
) -> str:
    """What a measuring process prints, in this environment or a given one.

    Raises:
        ValueError: it failed; with what it said last.
        TimeoutError: it took longer than so many seconds; it was asked to stop, and
            ended if it did not.
    """
    with subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said, wrong = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=LAST_SECONDS)
            raise TimeoutError(f"stopped after {seconds:.0f} s") from error
        finally:
            process.kill()
    if process.returncode:
        raise ValueError(f"{' '.join(line[1:])} failed:\n{wrong[-2000:]}")
    return said


def call(
    line: list[str],
    environment: dict[str, str] | None = None,
    seconds: float | None = None,
) -> dict:
    """The JSON in the last line that such a process prints."""
    return json.loads(printed(line, environment, seconds).splitlines()[-1])


def peak_resident_bytes() -> int:
    """Peak resident set of this process."""
    if sys.platform == "linux":  # ru_maxrss would count the parent before exec
        with open("/proc/self/status") as status:
            line = next(text for text in status if text.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
