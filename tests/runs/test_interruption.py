"""`kill -9` and SIGTERM at random moments of a real run, then the same command.

ALJAX_INTERRUPTIONS=100 makes it a hundred of them, on one process and on two.
"""

import itertools
import os
import random
import signal
import subprocess
import time

import pytest

from tests.support import together

INTERRUPTIONS = int(os.environ.get("ALJAX_INTERRUPTIONS", "2"))
PREEMPTED = 75
# Processes that lose another one do not wait for long.
PATIENCE_SECONDS = 90


def command(programs, workdir, *flags):
    return [
        f"--workdir={workdir}",
        f"--compile_cache_dir={programs}",
        "--config.model=tiny",
        "--config.width=4",
        "--config.cycles=3",
        "--config.initial=64",
        "--config.budget=64",
        "--config.pool_subset=512",
        "--config.batch_size=16",
        "--config.checkpoint_seconds=0.1",
        "--noreport",
        "--config.epochs=24",
        "--config.sweep={'strategy': ('learning_loss',)}",
        *flags,
    ]


def undisturbed(arguments, count):
    """Runs to the end; returns the seconds it took."""
    begun = time.monotonic()
    for status, said in together.finish(together.start(arguments, count)):
        assert status == 0, said
    return time.monotonic() - begun


def interrupt(started, number, seconds, victims):
    """Signals some of the processes after some seconds; says what became of them.

    Returns:
        Whether the signal came before the end, and the status of each process.
    """
    try:
        started[0].communicate(timeout=seconds)
        came = False
    except subprocess.TimeoutExpired:
        came = True
        for victim in victims:
            started[victim].send_signal(number)
    ended = together.finish(started, PATIENCE_SECONDS)
    # A signal that comes before the handler is there ends the process too, and one
    # that was killed takes the others along.
    fine = {0} if not came else {PREEMPTED, -number, 0}
    lost = came and any(status == -number for status, _ in ended)
    assert all(status in fine or lost for status, _ in ended), ended
    for _, silent in ended[1:]:
        assert "aljax: preempted" not in silent  # JAX has such a word of its own
    return came, [status for status, _ in ended]


@pytest.mark.slow
@pytest.mark.parametrize("count, epochs", [(1, 24), (2, 6)])
def test_interrupted_at_random_moments(count, epochs, programs, tmp_path):
    calm = tmp_path / "calm"
    flags = (f"--config.epochs={epochs}",)
    seconds = 0.8 * undisturbed(command(programs, calm, *flags), count)
    chance, interruptions = random.Random(count), 0
    folders = (tmp_path / f"rough{number}" for number in itertools.count())
    rough = next(folders)
    while interruptions < INTERRUPTIONS:
        started = together.start(command(programs, rough, *flags), count)
        number = (signal.SIGKILL, signal.SIGTERM)[interruptions % 2]
        victims = chance.sample(range(count), chance.randint(1, count))
        moment = chance.uniform(0.4, 1) * seconds
        came, statuses = interrupt(started, number, moment, victims)
        interruptions += came
        seconds *= 1 if came else 0.8  # that of `calm` also compiled
        if statuses == [0] * count:
            rough = next(folders)
    undisturbed(command(programs, rough, *flags), count)
    expected = together.rows(calm)
    assert [len(found) for found in expected.values()] == [3]
    for workdir in tmp_path.glob("rough*"):
        assert together.rows(workdir) == expected
