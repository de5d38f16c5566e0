"""Flags and numbers that nobody means, and those that look odd and are fine."""

import sys
from types import SimpleNamespace

import pytest

from aljax import load_config
from aljax.config import Config
from aljax.launch.command_line import main
from aljax.launch.flags import parse
from aljax.machine.devices import choose_devices
from aljax.machine.processes import join
from aljax.runs.plan import make_plan

SGD, ADAM, RMS = (f"--config.optimizers.{x}" for x in ("sgd", "adam", "rmsprop"))
# argument -> what the sentence says
REFUSED = {
    f"{SGD}.learning_rate=inf": "inf is not a finite number",
    f"{SGD}.learning_rate=-inf": "-inf is not a finite number",
    f"{SGD}.learning_rate=nan": "nan is not a finite number",
    f"{SGD}.learning_rate=1e38": "1e+38 is too large; it must be at most 1,000",
    f"{SGD}.learning_rate=fast": "learning_rate=fast: give a number",
    f"{SGD}.learning_rate=": "learning_rate=: give a number",
    f"{SGD}.momentum=1": "1.0 is too large; it must be below 1",
    f"{SGD}.momentum=-0.1": "-0.1 is too small; it must be zero or more",
    f"{ADAM}.beta1=1": "must be below 1",
    f"{ADAM}.beta2=1.5": "must be below 1",
    f"{RMS}.decay=1.01": "1.01 is too large; it must be at most 1",
    f"{SGD}.weight_decay=2": "2.0 is too large; it must be at most 1",
    f"{SGD}.nesterov=perhaps": "nesterov=perhaps: give true or false",
    f"{SGD}=0.1": "has fields of its own; set one of them",
    "--config.loss_prediction.margin=inf": "not a finite number",
    "--config.loss_prediction.weight=1e99": "too large",
    "--config.schedule.factor=1000": "too large; it must be at most 100",
    "--config.schedule.milestones=x": "whole numbers such as (80, 120)",
    "--config.schedule.milestones=-3": "too small",
    "--config.width=99999999999999999999": "too large; it must be at most 4,096",
    "--config.data.image_size=100000": "too large; it must be at most 8,192",
    "--config.augmentation.crop_padding=1000000": "at most 1,024",
    "--config.batch_size=1000000000": "too large; it must be at most 131,072",
    "--config.score_batch_size=10000000": "too large",
    "--config.trials=1000000": "too large; it must be at most 10,000",
    "--config.cycles=99999999": "too large",
    "--config.seed=4294967296": "too large; it must be at most 4,294,967,295",
    "--config.seed=-1": "too small; it must be zero or more",
    "--config.query.passes=1000000000": "too large; it must be at most 10,000",
    "--config.optimizer=SGD": "unknown value 'SGD'; did you mean 'sgd'?",
    "--config.model=ResNet50": "did you mean 'resnet50'?",
    "--config.epochs=nan": "--config.epochs=nan: give a whole number",
    "--config.epochs=1e3": "--config.epochs=1e3: give a whole number",
    "--config.epochs= ": "give a whole number",
    "--config.checkpoint_seconds=-1": "too small",
    "--config.augmentation.flip=7": "give true or false",
    "--config.augmentation=none": "has fields of its own",
    "--config.data=cifar10": "has fields of its own",
    "--config.sweep=3": "is not a dict of lists",
    "--config.sweep={'width': ('a',)}": "--config.width: 'a'",
    "--config.sweep={'width': (8, 8)}": "lists a value twice",
    "--config.sweep={'strategy'": "is not a dict of lists",
    "--epochs=3": "there is no such flag. Did you mean --config.epochs?",
    "--wrokdir=x": "Did you mean --workdir?",
    "--zzzzzz": "there is no such flag. --help lists what there is.",
    "--devices=two": "--devices=two: give a whole number",
    "--devices=": "--devices=: give a whole number",
    "--dry_run=perhaps": "--dry_run=perhaps: give true or false",
    "--workdir": "Missing value for flag --workdir",
    "--config=~nobody-here/x.py": "there is no such file, and no recipe",
}
FINE = (
    f"{SGD}.learning_rate=0",
    f"{SGD}.learning_rate=1e-30",
    f"{SGD}.momentum=0.9999",
    f"{SGD}.nesterov",
    f"{RMS}.decay=1",
    "--config.seed=4294967295",
    "--config.schedule.milestones=(3,5)",
    "--config.schedule.milestones=7",
    "--config.pool_subset=none",
    "--config.augmentation.flip=False",
    "--noconfig.augmentation.flip",
    "--config.checkpoint_seconds=0",
    "--config.augmentation.crop_padding=0",
)


def planned(monkeypatch, *arguments) -> SimpleNamespace:
    for name in ("adam", "rmsprop"):  # which no run of the recipe uses
        if arguments[0].startswith(f"--config.optimizers.{name}."):
            arguments += (f"--config.optimizer={name}",)
    monkeypatch.setattr(sys, "argv", ["aljax", *arguments])
    values, config = parse()
    return make_plan(config, "w", values.data_dir, values.shard, values.only)


@pytest.mark.parametrize("argument", REFUSED)
def test_one_sentence(argument, monkeypatch):
    with pytest.raises(ValueError) as error:
        planned(monkeypatch, argument)
    said = str(error.value)
    assert REFUSED[argument] in said and "\n" not in said
    assert said.startswith("--") or "Missing value" in said
    for internal in ("invalid literal", "could not convert", "Non-boolean", "('"):
        assert internal not in said.replace("('random'", "").replace("('x'", "")


def test_a_field_and_its_value_apart(monkeypatch):
    with pytest.raises(ValueError, match="write --config.model=resnet50"):
        planned(monkeypatch, "--config.model", "resnet50")


@pytest.mark.parametrize("argument", FINE)
def test_fine(argument, monkeypatch):
    assert planned(monkeypatch, argument).runs


def test_settings_of_an_optimizer_that_no_run_uses(monkeypatch):
    rate = "--config.optimizers.adam.learning_rate=0.1"
    words = "--config.optimizers.adam.learning_rate is of an optimizer that no run uses"
    for more in ((), ("--config.sweep={'optimizer': ('sgd', 'rmsprop')}",)):
        with pytest.raises(ValueError, match=f"{words}.*add --config.optimizer=adam"):
            planned(monkeypatch, "--config.epochs=9", rate, *more)
    both = "--config.sweep={'optimizer': ('sgd', 'adam')}"
    assert len(planned(monkeypatch, "--config.epochs=9", rate, both).runs) > 1


def test_a_flag_takes_the_place_of_a_recipes_grid(monkeypatch, capsys):
    plan = planned(monkeypatch, "--config.strategy=entropy")
    assert [run.config.strategy for run in plan.runs] == ["entropy"]
    said = capsys.readouterr().err
    assert "--config.strategy takes the place of the recipe's grid" in said
    assert "(random, learning_loss)" in said
    both = ["--config.strategy=entropy", "--config.sweep={'strategy': ('margin',)}"]
    with pytest.raises(ValueError, match="leave one of them out"):
        planned(monkeypatch, *both)
    sweep = ["--config=tune", "--config.optimizer=adam"]
    one = planned(monkeypatch, *sweep).config
    assert one.sweep == load_config("tune", optimizer="adam").sweep
    assert [*one.sweep] == ["model", "optimizers.adam.learning_rate"]
    other = ["--config.strategy=entropy", "--config.sweep={'width': (4, 8)}"]
    assert {run.config.width for run in planned(monkeypatch, *other).runs} == {4, 8}


@pytest.mark.parametrize("port", ["65536", "0", "99999999", "x", ""])
def test_ports(port):
    with pytest.raises(ValueError, match="a port of 1 to 65535"):
        join(f"localhost:{port}", 2, 0)


def test_no_process_is_no_run():
    with pytest.raises(ValueError, match="--processes=0: a run has at least 1"):
        join("localhost:1", 0, 0)


@pytest.mark.parametrize("platform", ["cuda", "nonsense"])
def test_a_platform_that_is_not_here(platform, monkeypatch):
    import jax

    def devices():
        raise RuntimeError(f"Unable to initialize backend {platform!r}: no\nsuch thing")

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", platform)
    with pytest.raises(ValueError, match=f"JAX_PLATFORMS={platform}: .*unset it") as e:
        choose_devices()
    assert "\n" not in str(e.value)


WORKDIRS = {
    "too long": ("a" * 300, "no folder can have this name"),
    "with a NUL": ("a\0b", "no folder can have this name"),
    "a file": ("file", "is not a folder that can be written"),
    "below a file": ("file/below", "is not a folder that can be written"),
    "a link to nothing": ("link", "is not a folder that can be written"),
    "below a link to nothing": ("link/below", "is not a folder that can be written"),
}


@pytest.mark.parametrize("name", WORKDIRS)
def test_workdirs_that_cannot_be_made(name, monkeypatch, tmp_path):
    text, words = WORKDIRS[name]
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    monkeypatch.setattr(sys, "argv", ["aljax"])
    _, config = parse()
    with pytest.raises(ValueError) as error:
        make_plan(config, tmp_path / text).check_workdir()
    assert words in str(error.value)


def test_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["aljax"])
    _, config = parse()
    plan = make_plan(config, "~/x", "~/tfds")
    assert plan.workdir == tmp_path / "x"
    assert plan.data_dir == str(tmp_path / "tfds")


def test_the_home_of_nobody():
    with pytest.raises(ValueError, match="--workdir=~nobody-here/x: nobody here has"):
        make_plan(Config(), "~nobody-here/x")


def test_status_of_a_workdir_that_is_not_there(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aljax.machine.preemption.Preemption.install", lambda self: {})
    monkeypatch.setattr(sys, "argv", ["aljax", "--status", "--workdir=nowhere"])
    assert main() == 2
    said = capsys.readouterr()
    assert "--workdir=nowhere: there is no such folder" in said.err
    assert said.out == "" and list(tmp_path.iterdir()) == []
