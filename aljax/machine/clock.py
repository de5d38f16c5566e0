"""Clocks: what compiling took, apart from the work itself, and what memory was used."""

import os
import resource
import sys
import time

import jax

from aljax.machine.allocator import COMPILED

_COMPILING = "/jax/core/compile/"


class CompileClock:
    """Adds up the seconds that this process has spent compiling, and the programs.

    Tracing, lowering and compiling report their durations when they end, and a program
    traced inside another is reported before it: what counts is the union of the spans.
    """

    def __init__(self):
        self._begun = time.monotonic()
        self.seconds = 0.0
        self.programs = 0
        self._spans: list[tuple[float, float]] = []
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def __enter__(self) -> "CompileClock":
        return self

    def __exit__(self, *error) -> None:
        """Listens no more."""
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def forget(self) -> None:
        """Forgets spans that no later one can hold, while nothing is compiled."""
        del self._spans[:-1]

    def _listen(self, event: str, seconds: float, **kwargs) -> None:
        if not event.startswith(_COMPILING):
            return
        self.programs += event == COMPILED
        end = time.monotonic()
        # JAX reads a clock that may be set while it compiles.
        start = min(max(end - seconds, self._begun), end)
        while self._spans and self._spans[-1][0] >= start:
            inner = self._spans.pop()
            self.seconds -= inner[1] - inner[0]
        if self._spans:
            start = max(start, self._spans[-1][1])
        self._spans.append((start, end))
        self.seconds += end - start


class Stopwatch:
    """Wall seconds of a `with` block: `compiling`, and the other `seconds`."""

    def __init__(self, clock: CompileClock):
        self._clock = clock

    def __enter__(self):
        self._clock.forget()
        self._start = time.monotonic()
        self._compiled = self._clock.seconds
        return self

    def __exit__(self, *error):
        elapsed = time.monotonic() - self._start
        self.compiling = min(self._clock.seconds - self._compiled, elapsed)
        self.seconds = elapsed - self.compiling


def peak_device_bytes() -> int | None:
    """Most memory in use on any device so far; None where the backend does not say."""
    stats = [device.memory_stats() for device in jax.local_devices()]
    peaks = [s["peak_bytes_in_use"] for s in stats if s and "peak_bytes_in_use" in s]
    return max(peaks, default=None)


def memory_bytes() -> int:
    """Memory of a device where the backend tells, else of this machine."""
    limits = [device.memory_stats() or {} for device in jax.local_devices()]
    known = [limit["bytes_limit"] for limit in limits if "bytes_limit" in limit]
    return min(known, default=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def peak_host_bytes() -> int:
    """Peak resident set of this process, which macOS counts in bytes, others in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
