"""A disk that is full or gone stops a run, which goes on once the disk is back."""

import errno
import os
import resource
import shutil
import time

import pytest

from aljax.runs.checkpoint import Checkpoints, DiskFailed
from tests.runs.test_interruption import command, undisturbed
from tests.support import together


def begin(programs, workdir):
    """Starts a run, or goes on with it, and waits until it has saved a few times."""
    before = {path.parent.name for path in together.saves(workdir)}
    (process,) = together.start(command(programs, workdir))
    deadline = time.monotonic() + 120
    while len({path.parent.name for path in together.saves(workdir)} - before) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def check_stopped(process):
    ((status, said),) = together.finish([process], 120)
    assert status == 1, said
    assert "Traceback" not in said and "orbax" not in said, said
    (complaint,) = (x for x in said.splitlines() if x.startswith("aljax: "))
    assert complaint == said.splitlines()[-1] and len(complaint) < 400, said
    assert "What was saved before is kept" in complaint


def test_the_sentence_names_no_file_that_only_a_library_knows(tmp_path):
    hidden = str(tmp_path / "4.orbax-checkpoint-tmp" / "_CHECKPOINT_METADATA")
    with pytest.raises(DiskFailed) as caught, Checkpoints(tmp_path)._writing():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), hidden)
    assert str(caught.value) == (
        f"{tmp_path} cannot be written (No such file or directory)"
    )


@pytest.mark.slow
def test_a_disk_that_is_full_and_one_that_goes_away(programs, tmp_path):
    calm, run, elsewhere = (tmp_path / name for name in ("calm", "run", "elsewhere"))
    undisturbed(command(programs, calm), 1)
    process = begin(programs, run)
    # No file may grow past a few kilobytes.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (2000, 2000))
    check_stopped(process)
    process = begin(programs, run)
    os.rename(run, elsewhere)
    check_stopped(process)
    # A save that was under way when the disk went may have been written in its place,
    # but no row.
    assert not list(run.rglob("cycles.jsonl"))
    shutil.rmtree(run, ignore_errors=True)
    os.rename(elsewhere, run)
    undisturbed(command(programs, run), 1)
    assert together.rows(run) == together.rows(calm)
