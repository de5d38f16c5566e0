"""Several processes that form one run, on this machine."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.tiny import results

LAUNCH = Path(__file__).parent / "launch_tiny.py"
_started: list[subprocess.Popen] = []


def free_ports(count: int) -> list[int]:
    """Ports of this machine on which nobody listens.

    They lie below those that Linux gives to whoever connects to something, one of which
    another process may be given before this one is used.
    """
    ports = []
    with contextlib.ExitStack() as stack:
        for port in random.sample(range(10_000, 32_768), 1000):
            if len(ports) < count:
                with contextlib.suppress(OSError):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
                    ports.append(port)
    return ports


def start(
    arguments: list[str],
    count: int = 1,
    devices: int = 1,
    extra: Callable[[int], Sequence[str]] = lambda i: (),
    program: Sequence[str] = (str(LAUNCH),),
) -> list[subprocess.Popen]:
    """Starts a program as `count` processes, each with so many virtual devices.

    Args:
        arguments: of all of them.
        count: of processes.
        devices: of each.
        extra: gives more of them, by the number of the process.
        program: what Python is given before the arguments.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    flags += f" --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}
    (port,) = free_ports(1)
    started = []
    for i in range(count):
        command = [sys.executable, *program, *arguments]
        command += extra(i)
        if count > 1:
            command += [f"--coordinator=localhost:{port}"]
            command += [f"--processes={count}", f"--process={i}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        process = subprocess.Popen(
            command, env=environment, text=True, start_new_session=True, **pipes
        )
        started.append(process)
    _started.extend(started)
    return started


def kill_all() -> None:
    """Ends what `start` has started and what that has, as after a failed test."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def saves(workdir: Path) -> list[Path]:
    """The finished saves of all runs in a workdir, which others may be deleting."""
    return list(workdir.glob("*/*/*/trial_*/checkpoints/*/meta"))


def rows(workdir: Path) -> dict[str, list[dict]]:
    """The results of each run in a workdir in which others may be writing."""
    return {
        str(path.parent.relative_to(workdir)): results(
            [json.loads(line) for line in path.read_text().splitlines()]
        )
        for path in workdir.glob("*/*/*/trial_*/cycles.jsonl")
    }


def finish(started, seconds: float = 300) -> list[tuple[int, str]]:
    """Waits for processes; the status of each and what it said."""
    said = []
    for process in started:
        output, _ = process.communicate(timeout=seconds)
        said.append((process.returncode, output))
    return said
