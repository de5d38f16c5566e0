"""`kill -9` and SIGTERM at random moments of a real run, then the same command.

ALJAX_INTERRUPTIONS=10 makes it ten of them.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.test_experiment import results

ROOT = Path(__file__).parent.parent
INTERRUPTIONS = int(os.environ.get("ALJAX_INTERRUPTIONS", "3"))
PREEMPTED = 75


def command(folder, workdir):
    return [
        *(sys.executable, str(ROOT / "launch.py"), f"--workdir={workdir}"),
        f"--compile_cache_dir={folder / 'programs'}",
        *("--config.width=4", "--config.epochs=6", "--config.cycles=3"),
        *("--config.initial=64", "--config.budget=64", "--config.pool_subset=512"),
        *("--config.batch_size=16", "--config.checkpoint_seconds=0.1"),
        "--config.sweep={'strategy': ('learning_loss',)}",
    ]


def rows(workdir):
    (path,) = workdir.rglob("cycles.jsonl")
    return results([json.loads(line) for line in path.read_text().splitlines()])


def stop(process, number, seconds):
    """Sends a signal after some seconds; says whether it came before the end."""
    try:
        process.communicate(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        process.communicate()
        # A signal that comes before the handler is there ends the process too.
        assert process.returncode in (PREEMPTED, -number, 0)
        return True


@pytest.mark.slow
def test_interrupted_at_random_moments(tmp_path):
    calm, rough = tmp_path / "calm", tmp_path / "rough0"
    subprocess.run(command(tmp_path, calm), check=True, capture_output=True)
    start = time.monotonic()
    again = command(tmp_path, tmp_path / "again")
    subprocess.run(again, check=True, capture_output=True)
    seconds = time.monotonic() - start
    moments, interruptions = random.Random(0), 0
    while interruptions < INTERRUPTIONS:
        process = subprocess.Popen(
            command(tmp_path, rough), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        number = (signal.SIGKILL, signal.SIGTERM)[interruptions % 2]
        interruptions += stop(process, number, moments.uniform(0.4, 1) * seconds)
        if process.returncode == 0:
            rough = tmp_path / f"rough{interruptions}"
    subprocess.run(command(tmp_path, rough), check=True, capture_output=True)
    expected = rows(calm)
    assert len(expected) == 3
    for workdir in (tmp_path / "again", *tmp_path.glob("rough*")):
        assert rows(workdir) == expected
