"""The committed study is told by its committed pages: rows in, the same tables out."""

import json

import numpy as np
import pytest

from aljax.report import command, svg
from aljax.report.answers import answers
from aljax.report.comparisons import between_settings
from aljax.report.runs import read
from tests.support.documents import README, ROOT, commands

STUDY = ROOT / "benchmarks" / "study"
COMMANDS = [words for words in commands(STUDY / "README.md") if words[0] == "report"]
OUT = "--out="


@pytest.fixture(scope="module", params=COMMANDS, ids=lambda words: words[-1])
def pages(request, tmp_path_factory):
    """The committed folder of a page, and the same made again by its command."""
    *words, out = request.param
    again = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # as from a fresh clone: tables name the folders
        # Figures are drawn; turning them into files, which takes longest, is left out.
        patch.setattr(
            svg, "draw", lambda *_: '<svg xmlns="http://www.w3.org/2000/svg"/>'
        )
        patch.setattr(svg, "save_png", lambda _, path: path.touch())
        assert command.main([*words[1:], f"{OUT}{again}"]) == command.DONE
    return ROOT / out.removeprefix(OUT), again


def test_tables_are_rebuilt_byte_for_byte(pages):
    committed, again = pages
    tables = sorted((committed / "tables").glob("*.csv"))
    assert len(tables) > 5
    assert [p.name for p in tables] == sorted(p.name for p in again.glob("*/*.csv"))
    for path in tables:
        assert path.read_bytes() == (again / "tables" / path.name).read_bytes()


def test_every_figure_is_rebuilt(pages):
    committed, again = pages
    for kind in ("png", "svg"):
        found = {path.name for path in committed.glob(f"figures/*.{kind}")}
        assert found == {path.name for path in again.glob(f"figures/*.{kind}")}
        assert any(name.startswith("accuracy_by_strategy") for name in found)


def test_every_page_is_made_by_a_command():
    folders = {path.parent for path in STUDY.glob("reports/*/index.html")}
    named = {ROOT / words[-1].removeprefix(OUT) for words in COMMANDS}
    assert folders == named and folders


OWN = (STUDY / "README.md").read_text()


@pytest.mark.parametrize(
    ("text", "parts", "questions"),
    [
        pytest.param(README, ("resnet18",), ("Q1", "Q4"), id="README"),
        (README, ("resnet18", "resnet34", "resnet50"), ("Q2", "Q3")),
        (OWN, ("resnet18", "resnet34", "resnet50"), ("Q2", "Q3")),
        (OWN, ("resnet18",), ("Q3", "Q4")),
        (OWN, ("strategies",), ("Q4",)),
        (OWN, ("resnet18", "authors"), ("Q5",)),
        (OWN, ("leak",), ("Q5",)),
    ],
)
def test_sentences_are_those_of_the_page(text, parts, questions):
    """Which claim no more than their interval."""
    study = read([STUDY / part for part in parts])
    told: dict[str, str] = {}
    for answer in answers(study):
        told.setdefault(answer.question, answer.sentence)
    for question in questions:
        assert told[question] in " ".join(text.split())


def test_what_tuning_gains_in_the_readme():
    study = read([STUDY / part for part in ("resnet18", "authors")])
    (found,) = between_settings(study.settings)
    mean, low, high = (-found.result.mean, -found.result.high, -found.result.low)
    said = f"score {mean:.1f} points ({low:.1f} to {high:.1f}, n = {found.result.n})"
    assert found.established and f"Tuned rates {said} above the authors'" in README


@pytest.mark.parametrize(
    ("parts", "question"),
    [
        (["resnet18"], "Q1"),
        (["switch"], "Q1"),
        (["resnet18", "resnet34", "resnet50"], "Q2"),
    ],
)
def test_under_random(parts, question):
    study = read([STUDY / part for part in parts])
    found = next(a for a in answers(study) if a.question == question)
    (said,) = (text for text in found.details if text.startswith("Under random, "))
    assert said in " ".join(OWN.split())


def test_numbers_of_single_runs():
    """Accuracies in percent at each budget, and what is said of purchases."""

    def accuracies(folder: str, field: str = "test_accuracy") -> list[float]:
        rows = (STUDY / folder / "cycles.jsonl").read_text().splitlines()
        return [100 * json.loads(row)[field] for row in rows]

    def percent(*of) -> list[float]:
        return [round(value, 1) for value in accuracies(*of)]

    thirds = [
        percent(f"leak/reset={reset}/resnet18/sgd/random/trial_3")[-1]
        for reset in ("never", "trial", "cycle")
    ]
    assert thirds == [71.7, 62.5, 55.0]
    for number in thirds:
        assert f"{number} %" in OWN
    dips = [
        percent(f"authors/resnet18/sgd/learning_loss/trial_{trial}")[3:5]
        for trial in (1, 2, 3)
    ]
    before, after = (" ".join(map(str, side)) for side in zip(*dips, strict=True))
    plain = OWN.replace(",", "").replace(" and", "")
    assert f"{before} % to {after} %" in plain
    alone = []
    for labels in (2496, 2500, 2504, 2512, 2528):
        runs = f"last_batch/initial={labels}/resnet18/sgd/random/trial_"
        found = [percent(f"{runs}{trial}")[0] for trial in (1, 2, 3)]
        alone.append(f"{np.mean(found):.1f} ± {np.std(found, ddof=1):.1f}")
    assert f"| {' | '.join(alone)} |" in OWN
    most, areas = [], []
    for strategy in ("random", "learning_loss"):
        runs = [f"resnet18/adam/{strategy}/trial_{trial}" for trial in range(1, 6)]
        on = {}
        for part, kind in (("resnet18", "EPYC"), ("strategies", "Xeon")):
            on[kind] = np.array([accuracies(f"{part}/{run}") for run in runs])
            for run in runs:
                assert kind in (STUDY / part / run / "config.json").read_text()
        apart = on["EPYC"] - on["Xeon"]
        most.append(f"{np.abs(apart).max():.1f}")
        of_trial = apart.mean(1)
        areas.append(f"{of_trial.mean():.1f} ± {of_trial.std(ddof=1):.1f}")
    flat = " ".join(OWN.split()).replace("−", "-")
    assert f"differ by up to {' and '.join(most)} points, areas" in flat
    assert f"by {' and '.join(areas)} (mean ± standard deviation, n = 5)" in flat
    ranked = {
        strategy: np.mean(
            [
                percent(str(path.parent.relative_to(STUDY)), "loss_ranking_accuracy")
                for path in STUDY.glob(f"resnet18/*/*/{strategy}/*/cycles.jsonl")
            ],
            axis=0,
        ).round()
        for strategy in ("random", "learning_loss")
    }
    assert ranked["random"][[0, -1]].tolist() == [60, 69]
    assert ranked["learning_loss"][[0, -1]].tolist() == [60, 64]


def test_every_run_is_whole_and_a_copy_is_one():
    found: dict[tuple, set[str]] = {}
    for path in STUDY.glob("*/**/cycles.jsonl"):
        about = json.loads(path.with_name("config.json").read_text())
        rows = path.read_text()
        assert rows.count("\n") == about["config"]["cycles"]
        alone = path.is_relative_to(STUDY / "full_width")
        zipped = "cifar10-jpeg.zip" if alone else "runs/cifar10-jpeg.zip"
        assert about["config"]["data.path"] == zipped
        config = about["config"] | {"trials": None, "sweep": None}
        key = json.dumps(config, sort_keys=True), about["trial"], about["device"]
        found.setdefault(key, set()).add(rows)
    assert len(found) > 40
    assert all(len(rows) == 1 for rows in found.values())
