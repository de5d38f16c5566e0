"""Compiling is counted apart from work, and memory in bytes."""

import sys
import time

import jax
import numpy as np
from jax._src.monitoring import get_event_duration_listeners

from aljax.machine.allocator import COMPILED
from aljax.machine.clock import (
    CompileClock,
    Stopwatch,
    peak_device_bytes,
    peak_host_bytes,
)


def test_clock_counts_programs_once():
    clock = CompileClock()
    program = jax.jit(lambda x: x * 3 + 1)
    program(np.float32(1))
    assert clock.programs == 1 and clock.seconds > 0
    seconds = clock.seconds
    program(np.float32(2))
    assert clock.programs == 1 and clock.seconds == seconds
    program(np.zeros(5, np.float32))
    assert clock.programs == 2 and clock.seconds > seconds


def test_stopwatch_takes_compiling_out():
    clock = CompileClock()
    program = jax.jit(lambda x: jax.lax.fori_loop(0, 3, lambda i, y: y @ y, x))
    with Stopwatch(clock) as whole:
        start = time.monotonic()
        jax.block_until_ready(program(np.eye(7, dtype=np.float32)))
        time.sleep(0.05)
        wall = time.monotonic() - start
    assert whole.compiling == clock.seconds > 0
    assert 0.05 <= whole.seconds < wall - whole.compiling + 0.05
    with Stopwatch(clock) as again:
        jax.block_until_ready(program(np.eye(7, dtype=np.float32)))
    assert again.compiling == 0 and again.seconds > 0


def test_clocks_that_are_set_while_it_compiles():
    clock = CompileClock()
    for seconds in (3600, -3600):
        with Stopwatch(clock) as watch:
            jax.monitoring.record_event_duration_secs(COMPILED, seconds)
        assert 0 <= watch.compiling <= clock.seconds < 60
        assert watch.seconds >= 0


def test_clocks_stop_listening_and_forget():
    before = list(get_event_duration_listeners())
    with CompileClock() as clock:
        for _ in range(3):
            jax.monitoring.record_event_duration_secs(COMPILED, 0.0)
        assert len(clock._spans) > 1
        with Stopwatch(clock):
            assert len(clock._spans) == 1
    assert get_event_duration_listeners() == before


def test_peak_host_bytes():
    before = peak_host_bytes()
    held = np.ones(2**25)  # 256 MiB
    after = peak_host_bytes()
    del held
    assert sys.platform != "linux" or after >= 2**28
    assert before <= after < 2**40


def test_peak_device_bytes_is_unknown_or_positive():
    peak = peak_device_bytes()
    assert peak is None or peak > 0


def test_peak_device_bytes_is_the_most_of_any_device(monkeypatch):
    class Device:
        def __init__(self, stats):
            self.memory_stats = lambda: stats

    stats = [{"peak_bytes_in_use": 5}, None, {"peak_bytes_in_use": 7}, {"other": 9}]
    monkeypatch.setattr(jax, "local_devices", lambda: [Device(s) for s in stats])
    assert peak_device_bytes() == 7
