"""What the script of an array does with how a task ends."""

import json
import os
import signal
import subprocess
import time

import pytest

from aljax.config import Config
from aljax.grid import expand
from aljax.launch.slurm import array_script
from tests.launch.test_submitting import NONE


def run_script(tmp_path, body, **variables):
    """Runs an array's script whose command is a Python script; gives the process."""
    (tmp_path / "task.py").write_text(body)
    groups = expand(Config(trials=2))
    script = array_script(groups, tmp_path, NONE, [str(tmp_path / "task.py")])
    job = {"SLURM_ARRAY_JOB_ID": "71", "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "99"}
    return subprocess.Popen(
        ["bash", "-c", script], env=os.environ | job | variables, text=True
    )


@pytest.mark.parametrize(
    "ends, status, requeued",
    [
        ("sys.exit(75)", 75, True),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143, True),
        ("os.kill(os.getpid(), signal.SIGUSR1)", 138, True),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137, False),
        ("sys.exit(0)", 0, False),
        ("sys.exit(1)", 1, False),
        ("sys.exit(2)", 2, False),
    ],
)
def test_asks_for_its_requeue_once_and_only_when_preempted(
    ends, status, requeued, asked, tmp_path
):
    body = (
        f"import os, signal, sys, json\njson.dump(sys.argv, open('argv', 'w'))\n{ends}"
    )
    body = body.replace("'argv'", repr(str(tmp_path / "argv")))
    process = run_script(tmp_path, body, SLURM_CPUS_PER_TASK="3")
    assert process.wait(60) == status
    argv = json.loads((tmp_path / "argv").read_text())
    assert argv[1:] == [
        "--launcher=local",
        "--runs_per_node=1",
        "--only=resnet18/sgd/learning_loss/trial_2",
    ]
    options = "--ntasks=1 --kill-on-bad-exit=1 --cpus-per-task=3 "
    assert (asked / "srun").read_text().startswith(options)
    said = asked / "scontrol"
    assert said.exists() == requeued
    assert not requeued or said.read_text() == "requeue 71_2\n"


def test_asks_again_where_slurm_does_not_answer(asked, tmp_path):
    (asked / "deaf").touch()
    assert run_script(tmp_path, "import sys; sys.exit(75)").wait(60) == 75
    assert (asked / "scontrol").read_text() == "requeue 71_2\n" * 2


def test_a_cancelled_task_does_not_ask_for_its_requeue(asked, tmp_path):
    ready = tmp_path / "ready"
    body = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        f"open({str(ready)!r}, 'w').write(f'{{os.getpid()}}\\n')\n"
        "time.sleep(60)\n"
    )
    process = run_script(tmp_path, body)
    while not (ready.exists() and ready.read_text().endswith("\n")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # SLURM ends the script and its steps alike
    os.kill(int(ready.read_text()), signal.SIGTERM)
    assert process.wait(60) == -signal.SIGTERM
    assert not (asked / "scontrol").exists()
