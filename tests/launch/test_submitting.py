"""What is handed to SLURM, and what is left out or refused."""

import errno
import json
import re
import shlex
import subprocess
import sys

import pytest

from aljax.launch import command_line
from aljax.launch.slurm import sbatch_options
from aljax.launch.task import task_command
from aljax.machine.preemption import Preemption
from aljax.runs.folder import ROW_FIELDS, RunFolder
from aljax.runs.lock import locked
from tests.launch.test_command_line import Done

FLAGS = ("partition", "nodes", "gpus", "cpus", "memory", "time", "concurrency")
FLAGS = (*FLAGS, "options")
NONE = {f"slurm_{name}": None for name in FLAGS}
GRID = "--config.sweep={'strategy': ('random', 'entropy', 'margin')}"
FOLDERS = [f"resnet18/sgd/{s}/trial_1" for s in ("random", "entropy", "margin")]


@pytest.fixture
def launch(tmp_path, monkeypatch, capsys):
    """Runs launch.py's command line in this process, in an empty folder."""
    monkeypatch.setattr(Preemption, "install", lambda self: None)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*arguments):
        arguments = ["--launcher=slurm", GRID, "--workdir=w", *arguments]
        monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])
        status = command_line.main()
        return Done(status, *capsys.readouterr())

    run.folder = here
    return run


def finish(workdir, folder, cycles=3):
    run = RunFolder(workdir / folder)
    run.path.mkdir(parents=True)
    about = {"config": {}, "data_fingerprint": ""}
    (run.path / "config.json").write_text(json.dumps(about))
    for cycle in range(1, cycles + 1):
        run.append(dict.fromkeys(ROW_FIELDS) | {"cycle": cycle, "labeled": 200})


def tasks(script):
    """The folders that a script lists, by task."""
    return dict(re.findall(r"^    \[(\d+)\]=(.*)$", script, re.MULTILINE))


def test_dry_run_shows_the_script_and_writes_nothing(launch):
    done = launch(
        "--dry_run",
        "--slurm_partition=gpu",
        "--slurm_gpus=a100:2",
        "--slurm_cpus=8",
        "--slurm_memory=32G",
        "--slurm_time=1-00:30",
        "--slurm_concurrency",
        "2",
        "--slurm_options=account=x,exclude=n1,n2",
    )
    assert done.returncode == 0, done.stderr
    options = [
        shlex.split(line)[1]
        for line in done.stdout.splitlines()
        if line.startswith("#SBATCH")
    ]
    assert options == [
        "--job-name=aljax-w",
        "--array=1-3%2",
        "--nodes=1",
        "--ntasks=1",
        "--ntasks-per-node=1",
        f"--chdir={launch.folder}",
        f"--output={launch.folder}/w/slurm/%A_%a.log",
        "--open-mode=append",
        "--requeue",
        "--signal=USR1@120",
        "--partition=gpu",
        "--gres=gpu:a100:2",
        "--cpus-per-task=8",
        "--mem=32G",
        "--time=1-00:30",
        "--account=x",
        "--exclude=n1,n2",
    ]
    assert list(tasks(done.stdout).values()) == FOLDERS
    last = done.stdout.splitlines()[-1]
    assert last.startswith("3 of 3 tasks; 0 done and 0 queued or running are left out")
    assert last.endswith("nothing was submitted or written.")
    assert list(launch.folder.iterdir()) == []


def test_a_task_of_several_nodes(launch):
    flags = "--dry_run", "--slurm_nodes=2", "--slurm_gpus=4"
    done = launch(*flags)
    assert done.returncode == 0, done.stderr
    for words in ("--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "srun --ntasks=2 "):
        assert words in done.stdout
    assert "1 | 134 | 137" in done.stdout  # waits for SLURM to find a node down
    assert "134" not in launch("--dry_run").stdout
    done = launch(*flags, "--config.batch_size=12")
    assert done.returncode == 2
    assert "config.batch_size: 12 images" in done.stderr and "8 devices" in done.stderr


def test_submits_an_array_and_keeps_its_script(launch, asked, monkeypatch):
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "1000")  # of the job one is in
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    done = launch("--slurm_partition=low", "--shard=1/1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("job 4711: 3 of 3 tasks;")
    assert "w/slurm/4711_*.log" in done.stdout
    script = (asked / "script").read_text()
    (kept,) = (launch.folder / "w" / "slurm").iterdir()
    assert kept.name == "4711.sh" and kept.read_text() == script
    assert (asked / "options").read_text() == "--parsable\n"
    environment = (asked / "env").read_text()
    assert "SLURM_CONF=/etc/slurm.conf" in environment
    assert "SLURM_MEM_PER_CPU" not in environment
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_another_experiment_is_refused_while_tasks_wait(launch, asked):
    """Before one of them has begun; the first to run adds on what."""
    assert launch().returncode == 0
    about = json.loads((launch.folder / "w" / "config.json").read_text())
    assert about["config"]["epochs"] != 7 and "versions" not in about
    (asked / "script").unlink()
    done = launch("--config.epochs=7")
    assert done.returncode == 2 and "epochs" in done.stderr
    assert not (asked / "script").exists()


def test_a_script_that_cannot_be_kept_is_not_submitted(launch, asked, monkeypatch):
    def full(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("aljax.launch.submission.Path.write_text", full)
    monkeypatch.setattr(command_line.processes, "leave", sys.exit)
    with pytest.raises(SystemExit):
        launch()
    assert not (asked / "script").exists()


def test_nothing_is_submitted_once_it_is_asked_to_stop(launch, asked, monkeypatch):
    monkeypatch.setattr(Preemption, "requested", True, raising=False)
    monkeypatch.setattr(Preemption, "__init__", lambda self: None)
    done = launch("--slurm_partition=low")
    assert done.returncode == 1 and "nothing was submitted" in done.stderr
    assert not (asked / "script").exists()


def test_finished_running_and_queued_groups_are_left_out(launch, asked):
    workdir = launch.folder / "w"
    finish(workdir, FOLDERS[0])
    finish(workdir, FOLDERS[1], cycles=2)
    assert launch().returncode == 0
    script = (asked / "script").read_text()
    assert tasks(script) == {"1": FOLDERS[1], "2": FOLDERS[2]}
    assert "#SBATCH --array=1-2\n" in script
    # Another job has a task of the same number; of ours, one is left.
    (asked / "queue").write_text("9_1\n4711_2\n88_N/A\n")
    done = launch("--dry_run")
    assert tasks(done.stdout) == {"1": FOLDERS[1]}
    assert "1 of 3 tasks; 1 done and 1 queued or running" in done.stdout
    with locked(workdir / FOLDERS[1]):
        (asked / "script").unlink()
        done = launch()
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "0 of 3 tasks; 1 done and 2 queued or running are left out; "
        "nothing was submitted."
    ]
    assert not (asked / "script").exists()


def test_which_groups_are_submitted(launch):
    done = launch("--dry_run", "--shard=2/2")
    assert tasks(done.stdout) == {"1": FOLDERS[1]}
    done = launch("--dry_run", f"--only={FOLDERS[2]}")
    assert tasks(done.stdout) == {"1": FOLDERS[2]}
    assert "--shard" not in done.stdout and done.stdout.count("--only=") == 1
    done = launch("--dry_run", "--config.reset=never", "--config.trials=2")
    assert list(tasks(done.stdout).values()) == FOLDERS  # trials need each other


BAD = {
    "--slurm_partition=": "a name, such as gpu",
    "--slurm_gpus=two": "NUMBER or TYPE:NUMBER",
    "--slurm_gpus=0": "NUMBER or TYPE:NUMBER",
    "--slurm_cpus=0": "at least 1",
    "--slurm_memory=32GB": "such as 32G",
    "--slurm_memory=32": "a size with its unit",
    "--slurm_time=soon": "MINUTES",
    "--slurm_time=4": "at least 5 minutes",
    "--slurm_time=04:59": "at least 5 minutes",
    "--slurm_time=0-0:04": "at least 5 minutes",
    "--slurm_concurrency=-1": "at least 1",
    "--slurm_options=exclusive": "NAME=VALUE",
    "--slurm_options=account=x,array=1-3": "array is set by the launcher",
    "--slurm_options=account=x,time=2": "a flag of its own; write --slurm_time=2",
    "--slurm_account=x": "Other options of sbatch go as --slurm_options=account=…",
    "--slurm_nodes=0": "at least 1",
    "--runs_per_node=2": "--slurm_gpus=1 puts most of them side by side",
    "--process=0": "but --launcher=slurm starts processes itself",
    "--launcher=cloud": "local|slurm",
    "--slurm_gpus=3": "cannot be shared evenly by 3 devices",
    "--only=resnet18/sgd/entropi/trial_1": "did you mean resnet18/sgd/entropy/trial_1",
}


@pytest.mark.parametrize("argument", BAD)
def test_bad_values(argument, launch, asked):
    done = launch(argument)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert BAD[argument] in line
    if "gpus=3" not in argument:
        assert argument.split("=")[0].lstrip("-") in line
    assert list(launch.folder.iterdir()) == []
    assert not (asked / "script").exists()


def test_flags_of_slurm_without_it(launch):
    done = launch("--launcher=local", "--slurm_time=1-0")
    assert done.returncode == 2
    assert "--slurm_time=1-0 is for --launcher=slurm" in done.stderr


def test_refused_by_slurm(launch, asked):
    (asked / "refuse").touch()
    done = launch()
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "sbatch refuses (error: invalid partition)" in line
    assert list(launch.folder.iterdir()) == []


def test_no_slurm_here(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = launch()
    assert done.returncode == 2
    assert "there is no sbatch here" in done.stderr
    assert list(launch.folder.iterdir()) == []


@pytest.mark.parametrize("text", ["5", "05:00", "0:05:00", "0-1", "1-00:00:00"])
def test_times_that_are_long_enough(text):
    assert sbatch_options(NONE | {"slurm_time": text}) == [f"--time={text}"]


def test_options_without_a_value_and_with_commas():
    text = "exclusive=,exclude=a1,b2,mail-type=END,FAIL"
    assert sbatch_options(NONE | {"slurm_options": text}) == [
        "--exclusive",
        "--exclude=a1,b2",
        "--mail-type=END,FAIL",
    ]


def test_command_of_a_task():
    argv = ["/x/launch.py", "--config=c.py", "--launcher", "slurm", "--workdir", "a b"]
    argv += ["-slurm_time=9", "--dry_run", "--shard", "1/2", "--config.width=4"]
    argv += ["--runs_per_node=8"]
    assert task_command(argv) == [
        sys.executable,
        "/x/launch.py",
        "--config=c.py",
        "--workdir",
        "a b",
        "--config.width=4",
        "--launcher=local",
        "--runs_per_node=1",
    ]


def test_command_of_a_task_has_what_a_flag_file_said(tmp_path):
    path = tmp_path / "site.flags"
    path.write_text("--slurm_partition=gpu\n--launcher=slurm\n--config.width=4\n")
    words = task_command(["/x/launch.py", f"--flagfile={path}", "--config=grid"])
    assert words[2:-2] == ["--config.width=4", "--config=grid"]
