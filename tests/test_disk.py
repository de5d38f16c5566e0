"""A disk that is full or gone stops a run, which goes on once the disk is back."""

import os
import resource
import time

import pytest

from tests import together
from tests.test_interruption import command, rows, undisturbed

pytestmark = pytest.mark.slow


def begin(programs, workdir):
    """Starts a run and waits until it has saved a few times."""
    (process,) = together.start(command(programs, workdir))
    deadline = time.monotonic() + 120
    while not list(workdir.rglob("checkpoints/4")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def check_stopped(process):
    ((status, said),) = together.finish([process], 120)
    assert status == 1, said
    last = said.splitlines()[-1]  # of many that the libraries have to say
    assert last.startswith("aljax: ") and "What was saved before is kept" in last, said


@pytest.fixture(scope="module")
def calm(programs, tmp_path_factory):
    """The rows of an undisturbed run."""
    workdir = tmp_path_factory.mktemp("calm")
    undisturbed(command(programs, workdir), 1)
    return rows(workdir)


def test_a_full_disk(calm, programs, tmp_path):
    """No file may grow past a few kilobytes: what a full disk comes to, but for who is
    stopped."""
    process = begin(programs, tmp_path / "run")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (2000, 2000))
    check_stopped(process)
    undisturbed(command(programs, tmp_path / "run"), 1)
    assert rows(tmp_path / "run") == calm


def test_a_disk_that_goes_away(calm, programs, tmp_path):
    process = begin(programs, tmp_path / "run")
    os.rename(tmp_path / "run", tmp_path / "elsewhere")
    check_stopped(process)
    # Nothing was written where the disk had been.
    assert not (tmp_path / "run").exists()
    os.rename(tmp_path / "elsewhere", tmp_path / "run")
    undisturbed(command(programs, tmp_path / "run"), 1)
    assert rows(tmp_path / "run") == calm
