"""Bad input gets one clear sentence and exit status 2, and writes nothing."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from aljax import load_config
from aljax.config import Config, Data
from aljax.launch import command_line
from aljax.machine.preemption import Preemption
from aljax.runs.lock import locked
from aljax.runs.plan import Plan

ROOT = Path(__file__).parents[2]


class Done(NamedTuple):
    """How a command ended, as subprocess says it."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def launch(tmp_path, monkeypatch, capsys):
    """Runs launch.py's command line in this process, in an empty folder."""
    monkeypatch.setattr(Preemption, "install", lambda self: None)
    monkeypatch.setattr(command_line, "use_compile_cache", lambda folder: None)
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["launch.py", *arguments])
        status = command_line.main()
        return Done(status, *capsys.readouterr())

    return run


def image_zip(path, names):
    image = path.parent / "image.png"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(image)
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.write(image, name)
    image.unlink()
    return str(path)


CASES = {
    "unknown model": (
        ["--config.model=resnet81"],
        ["config.model", "'resnet81'", "did you mean 'resnet18'", "resnet152"],
    ),
    "unknown optimizer": (
        ["--config.optimizer=adamm"],
        ["config.optimizer", "'adamm'", "did you mean 'adam'", "rmsprop"],
    ),
    "unknown strategy": (
        ["--config.strategy=margn", "--config.sweep={}"],
        ["config.strategy", "'margn'", "did you mean 'margin'", "learning_loss"],
    ),
    "unknown strategy in a grid": (
        ["--config.sweep={'strategy': ('random', 'entropi')}"],
        ["config.strategy", "'entropi'", "did you mean 'entropy'"],
    ),
    "unknown dataset": (
        ["--config.data.name=cifar_10"],
        ["config.data.name", "'cifar_10'", "did you mean 'cifar10'", "image_folder"],
    ),
    "unknown field": (
        ["--config.epoch=3"],
        ["--config.epoch", "no such field", "did you mean --config.epochs"],
    ),
    "unknown nested field": (
        ["--config.optimizers.sgd.learning_rat=3"],
        ["did you mean --config.optimizers.sgd.learning_rate"],
    ),
    "unknown flag": (["--wrkdir=x"], ["wrkdir", "workdir"]),
    "not a flag": (["resnet18"], ["'resnet18' is not a flag"]),
    "wrong type": (["--config.epochs=ten"], ["config.epochs", "ten"]),
    "fraction for a count": (["--config.budget=1.5"], ["config.budget", "1.5"]),
    "none for a count": (["--config.epochs=none"], ["config.epochs", "None", "int"]),
    "zero": (["--config.epochs=0"], ["config.epochs", "0", "at least 1"]),
    "negative": (["--config.initial=-5"], ["config.initial", "-5", "at least 1"]),
    "too many labels": (
        ["--config.cycles=60"],
        ["config.cycles", "12000 labels", "10000", "lower cycles"],
    ),
    "subset below budget": (
        ["--config.pool_subset=100"],
        ["config.pool_subset", "100", "budget of 200", "none"],
    ),
    "no such configuration": (
        ["--config=configs/no_such.py"],
        ["configs/no_such.py", "no such file", "cifar10_report"],
    ),
    "no such executor": (["--parallel=pmpa"], ["--parallel", "pmpa", "shard_map|pmap"]),
    "no devices": (["--devices=0"], ["--devices=0", "this machine has", "choose 1"]),
    "too many devices": (["--devices=4096"], ["--devices=4096", "this machine has"]),
    "devices in words": (["--devices=two"], ["--devices", "two"]),
    "bad shard": (["--shard=9/8"], ["--shard=9/8", "K/N", "1 <= K <= N"]),
    "shard in words": (["--shard=first"], ["--shard=first", "K/N"]),
    "unwritable workdir": (["--workdir=/dev/null/x"], ["/dev/null", "--workdir"]),
    "sweep of an unknown field": (
        ["--config.sweep={'strategi': ('random',)}"],
        ["config.sweep", "'strategi'", "did you mean 'strategy'"],
    ),
    "sweep in the wrong form": (["--config.sweep=random"], ["config.sweep", "dict"]),
    "no path to a folder": (
        ["--config.data.name=image_folder"],
        ["config.data.path", "image_folder"],
    ),
    "no such folder": (
        ["--config.data.name=image_folder", "--config.data.path=nowhere.zip"],
        ["config.data.path", "nowhere.zip"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_status_2(case, launch, tmp_path):
    arguments, words = CASES[case]
    done = launch(*arguments)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    for word in words:
        assert word in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "names, words",
    [
        (["test/cat/1.png", "test/dog/1.png"], ["train/"]),
        (
            ["train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/cow/1.png"],
            ["test/", "cow"],
        ),
    ],
    ids=["no train", "unknown class in test"],
)
def test_bad_image_folders(names, words, launch, tmp_path):
    path = image_zip(tmp_path / "images.zip", names)
    done = launch("--config.data.name=image_folder", f"--config.data.path={path}")
    assert done.returncode == 2, done.stderr
    for word in [*words, "images.zip"]:
        assert word in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["images.zip"]


def test_workdir_of_another_experiment(launch, tmp_path):
    Plan(Config(seed=3, data=Data(name="cifar10")), [], tmp_path / "w").write()
    before = (tmp_path / "w" / "config.json").read_bytes()
    done = launch("--workdir=w")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "--workdir=w holds another experiment" in line
    assert "seed (3 there, 0 here)" in line
    assert "data.name (cifar10 there, fashion_mnist_mini here)" in line
    assert "Choose another --workdir" in line
    (path,) = (tmp_path / "w").iterdir()
    assert path.read_bytes() == before


def test_run_of_another_process(launch, tmp_path):
    folder = tmp_path / "w/resnet18/sgd/random/trial_1"
    with locked(folder):
        done = launch("--workdir=w")
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "w/resnet18/sgd/random/trial_1 is being run by process" in line
    assert "--shard" in line and "--workdir" in line
    assert [path.name for path in folder.iterdir()] == ["lock.json"]


@pytest.mark.parametrize(
    "text, words",
    [
        ("from aljax.config import Config\ndef get_config():\n"
         "    return Config(modle='resnet18')", ["unexpected", "'modle'"]),
        ("def get_config():\n    return 3", ["int", "aljax.Config"]),
        ("config = 3", ["no function get_config()"]),
    ],
    ids=["unknown field", "not a Config", "no function"],
)  # fmt: skip
def test_bad_configuration_files(text, words, launch, tmp_path):
    (tmp_path / "c.py").write_text(text)
    done = launch("--config=c.py")
    assert done.returncode == 2, done.stderr
    for word in ["--config=c.py", *words]:
        assert word in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_dry_run_lists_the_runs_and_writes_nothing(launch, tmp_path):
    done = launch("--dry_run", "--shard=2/2", "--compile_cache_dir=")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "runs/quickstart/resnet18/sgd/learning_loss/trial_1",
        "12,000 images to train on, each epoch counted; time and memory unknown: "
        "nothing like it has run here yet.",
        "1 runs; nothing was written.",
    ]
    assert list(tmp_path.iterdir()) == []


def test_only_picks_a_run_and_those_it_needs(launch):
    folder = "resnet18/sgd/learning_loss/trial_"
    done = launch("--dry_run", f"--only={folder}1")
    assert done.stdout.splitlines()[:-2] == [f"runs/quickstart/{folder}1"]
    leaky = ["--config.reset=never", "--config.trials=2"]
    done = launch("--dry_run", f"--only={folder}2", *leaky)
    both = [f"runs/quickstart/{folder}{trial}" for trial in (1, 2)]
    assert done.stdout.splitlines()[:-2] == both
    done = launch("--dry_run", "--only=learning_loss")
    assert done.returncode == 2 and "--only=learning_loss: there is no" in done.stderr


def test_help_names_every_flag(launch):
    done = launch("--help")
    assert done.returncode == 0
    for flag in ("--config", "workdir", "data_dir", "shard", "dry_run", "status"):
        assert flag in done.stdout
    for flag in ("devices", "parallel", "compile_cache_dir", "only", "launcher"):
        assert flag in done.stdout


def test_status_needs_no_images_and_writes_nothing(launch, tmp_path):
    nowhere = ["--config.data.name=image_folder", "--config.data.path=nowhere.zip"]
    (tmp_path / "w").mkdir()
    done = launch("--status", "--workdir=w", *nowhere)
    assert done.returncode == 2 and "--workdir=w holds no experiment" in done.stderr
    data = {"name": "image_folder", "path": "nowhere.zip"}
    Plan(load_config("quickstart", data=data), [], tmp_path / "w").write()
    done = launch("--status", "--workdir=w", *nowhere)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "waiting  resnet18/sgd/random/trial_1         0/3 cycles",
        "waiting  resnet18/sgd/learning_loss/trial_1  0/3 cycles",
        "2 runs: 0 done, 0 running, 2 waiting, 0 failed; training time left: unknown.",
    ]
    assert list((tmp_path / "w").iterdir()) == [tmp_path / "w" / "config.json"]


def test_status_of_another_experiment(launch, tmp_path):
    Plan(Config(seed=3), [], tmp_path / "w").write()
    done = launch("--workdir=w", "--status")
    assert done.returncode == 2 and done.stdout == ""
    assert "--workdir=w holds another experiment" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("flag, status", [("--dry_run", 0), ("--config.epochs=0", 2)])
def test_exit_status_of_the_process(flag, status, tmp_path):
    command = [sys.executable, str(ROOT / "launch.py"), flag]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == (status == 2)


@pytest.mark.slow
def test_a_reader_that_has_enough_is_no_error(tmp_path):
    """As in `launch.py --dry_run | head`."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), "--dry_run"],
        cwd=tmp_path,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
