"""The door for Python: recipes, runs, their rows, and errors that speak of fields."""

import signal
from functools import partial

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

import aljax
from aljax.models.resnet import BasicBlock, ResNet
from tests.support.tiny import results


class Plain(nn.Module):
    """A network without batch normalisation and without stages."""

    classes: int
    width: int
    dtype: object = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x, mask=None, train=False):
        embedding = nn.relu(nn.Dense(self.width)(x.mean((1, 2))))
        return aljax.Features(nn.Dense(self.classes)(embedding), (), embedding)


class Bare(Plain):
    """The same, and it keeps its embedding to itself."""

    @nn.compact
    def __call__(self, x, mask=None, train=False):
        return aljax.Features(nn.Dense(self.classes)(x.mean((1, 2))))


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    monkeypatch.setitem(aljax.MODELS, "bare", Bare)
    monkeypatch.setitem(aljax.MODELS, "tiny", partial(ResNet, BasicBlock, (1,)))
    monkeypatch.setitem(aljax.MODELS, "plain", Plain)


def tiny_config(**fields):
    small = dict(model="tiny", width=4, epochs=1, cycles=2, initial=20, budget=10)
    small |= dict(pool_subset=50, batch_size=16, sweep={})
    return aljax.load_config("quickstart", **small | fields)


def test_the_door_shows_what_it_has():
    assert set(aljax.__all__) <= set(dir(aljax))
    for name in aljax.__all__:
        assert getattr(aljax, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = aljax.nonsense


def test_a_recipe_by_name_and_by_file(tmp_path):
    by_name = aljax.load_config("cifar10_report", epochs=3, data={"path": "x.zip"})
    assert (by_name.data.name, by_name.epochs) == ("cifar10", 3)
    assert by_name.data.path == "x.zip"
    path = tmp_path / "mine.py"
    path.write_text(
        "import aljax\ndef get_config():\n    return aljax.Config(epochs=7)\n"
    )
    assert aljax.load_config(path).epochs == 7


def test_runs_resumes_and_gives_a_table(tmp_path):
    config = tiny_config(sweep={"strategy": ("random", "entropy")})
    runs = aljax.run(config, workdir=tmp_path)
    assert runs.failures == [] and runs.workdir == tmp_path
    frame = runs.frame()
    assert len(frame) == 4
    assert sorted(set(frame["strategy"])) == ["entropy", "random"]
    assert frame["labeled"].tolist() == [20, 30] * 2
    figures = runs.figures()
    (axes,) = figures["accuracy_by_strategy"].axes
    assert figures["seconds"].get_figwidth() > 5 and axes.lines
    assert runs.report() == tmp_path / "report" / "index.html"
    again = aljax.run(config, workdir=tmp_path)
    assert again.rows() == runs.rows()
    first, second = (rows for rows in runs.rows().values())
    assert first[0]["queried"] == second[0]["queried"]
    for row in first + second:
        pool = {"queried_labels", "queried"}
        assert {len(row[name]) for name in pool} == {20 if row["cycle"] == 1 else 10}
        assert sum(row["reliability"]["images"]) == np.sum(row["confusion"])
        assert 0 <= row["calibration_error"] <= 1
    assert first[0]["queried_predictions"] is None
    assert len(first[1]["queried_predictions"]) == 10
    assert first[1]["queried_scores"] is None
    assert np.all(np.diff(second[1]["queried_scores"]) <= 0)


def test_the_configuration_given_stays_as_it_was(tmp_path):
    config = tiny_config()
    before = repr(config)
    aljax.run(config, workdir=tmp_path)
    assert repr(config) == before


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda w: aljax.load_config("quickstrat"), ["config=quickstrat", "start"]),
        (lambda w: aljax.load_config(epoch=3), ["config", "'epoch'", "did you mean"]),
        (lambda w: aljax.run(tiny_config(model="tiyn"), w), ["config.model", "tiny"]),
        (lambda w: aljax.run("quickstart", w), ["config: 'quickstart'", "load_config"]),
        (lambda w: aljax.run(tiny_config(), w, devices=99), ["devices=99", "choose 1"]),
        (lambda w: aljax.run(tiny_config(), w, shard="9/8"), ["shard=9/8", "K/N"]),
        (lambda w: aljax.run(tiny_config(), "/dev/null/x"), ["workdir=/dev/null/x"]),
    ],
)  # fmt: skip
def test_errors_speak_of_fields(call, words, tmp_path):
    with pytest.raises(ValueError) as error:
        call(tmp_path / "w")
    assert not (tmp_path / "w").exists()
    said = str(error.value)
    assert "--" not in said
    for word in words:
        assert word in said


def test_stop_button_saves_and_the_same_call_goes_on(tmp_path, monkeypatch):
    config = tiny_config(epochs=3)
    calm = aljax.run(config, workdir=tmp_path / "calm").rows()
    before = signal.getsignal(signal.SIGINT)
    train, pressed = aljax.launch.python.run_experiment, []

    def press(plan, devices, preemption):
        if not pressed:
            pressed.append(signal.raise_signal(signal.SIGINT))
        return train(plan, devices, preemption)

    monkeypatch.setattr(aljax.launch.python, "run_experiment", press)
    with pytest.raises(aljax.Preempted):
        aljax.run(config, workdir=tmp_path / "w")
    assert signal.getsignal(signal.SIGINT) is before
    rows = aljax.run(config, workdir=tmp_path / "w").rows()
    assert list(map(results, rows.values())) == list(map(results, calm.values()))


def test_a_network_without_norm_or_stages_works_where_it_can(tmp_path):
    with pytest.raises(ValueError, match="plain shows no stages.*train=needed"):
        aljax.run(tiny_config(model="plain"), workdir=tmp_path / "always")
    assert not (tmp_path / "always").exists()
    no_embedding = tiny_config(
        model="bare", strategy="k_center", loss_prediction={"train": "needed"}
    )
    with pytest.raises(ValueError, match="bare has none; choose another strategy"):
        aljax.run(no_embedding, workdir=tmp_path / "bare")
    assert not (tmp_path / "bare").exists()
    needed = tiny_config(
        model="plain", strategy="margin", loss_prediction={"train": "needed"}
    )
    (rows,) = aljax.run(needed, workdir=tmp_path / "needed").rows().values()
    assert len(rows) == 2 and rows[0]["loss_ranking_accuracy"] is None


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda count, budget: np.arange(budget - 1), ["shape (9,)", "10 different"]),
        (lambda count, budget: np.arange(budget) * 1.0, ["float64"]),
        (lambda count, budget: np.arange(budget) + count - 5, ["position 50"]),
        (lambda count, budget: np.arange(budget) - 1, ["position -1"]),
        (lambda count, budget: np.zeros(budget, int), ["position 0 more than once"]),
    ],
    ids=["too few", "fractions", "beyond", "negative", "repeated"],
)
def test_a_wrong_answer_of_a_strategy_buys_nothing(
    answer, words, tmp_path, monkeypatch
):
    def select(query):
        return answer(query.count, query.budget)

    monkeypatch.setitem(aljax.STRATEGIES, "mine", aljax.Strategy(select))
    with pytest.raises(ValueError) as error:
        aljax.run(tiny_config(strategy="mine"), workdir=tmp_path)
    for word in ["config.strategy: mine", *words]:
        assert word in str(error.value)
    (rows,) = tmp_path.glob("*/*/*/trial_1/cycles.jsonl")
    assert len(rows.read_text().splitlines()) == 1
