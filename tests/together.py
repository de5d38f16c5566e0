"""Several processes that form one run, on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

LAUNCH = Path(__file__).parent.parent / "launch.py"


def free_ports(count: int) -> list[int]:
    """Ports of this machine on which nobody listens."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(
    arguments: list[str],
    count: int = 1,
    devices: int = 1,
    cores: set[int] | None = None,
    extra: Sequence[str] = (),
) -> list[subprocess.Popen]:
    """Starts launch.py as `count` processes, each with so many virtual devices.

    Args:
        arguments: of all of them.
        count: of processes.
        devices: of each.
        cores: that each may use; None: all of this process.
        extra: arguments in which {i} is the number of the process.
    """
    cores = cores or os.sched_getaffinity(0)
    flags = os.environ.get("XLA_FLAGS", "")
    flags += f" --xla_force_host_platform_device_count={devices}"
    (port,) = free_ports(1)
    started = []
    for i in range(count):
        command = [sys.executable, str(LAUNCH), *arguments]
        command += [argument.format(i=i) for argument in extra]
        if count > 1:
            command += [f"--coordinator=localhost:{port}"]
            command += [f"--processes={count}", f"--process={i}"]
        started.append(
            subprocess.Popen(
                command,
                env=os.environ | {"XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=partial(os.sched_setaffinity, 0, cores),
            )
        )
    return started


def finish(started, seconds: float = 300) -> list[tuple[int, str]]:
    """Waits for processes; the status of each and what it said."""
    said = []
    for process in started:
        output, _ = process.communicate(timeout=seconds)
        said.append((process.returncode, output))
    return said
