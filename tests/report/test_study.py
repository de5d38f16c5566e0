"""The committed study is told by its committed pages: rows in, the same tables out."""

from pathlib import Path

import pytest

from aljax.report import command
from aljax.report.answers import answers
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
        assert "accuracy_by_strategy.png" in found or kind == "svg"


def test_every_page_is_made_by_a_command():
    folders = {path.parent for path in STUDY.glob("reports/*/index.html")}
    named = {ROOT / words[-1].removeprefix(OUT) for words in COMMANDS}
    assert folders == named and folders


def test_the_readme_says_what_the_rows_say():
    """In the words of the page, which claim no more than their interval."""
    study = read([STUDY / "resnet18"])
    told = {answer.question: answer.sentence for answer in answers(study)}
    for question in ("Q1", "Q3", "Q4"):
        assert told[question] in " ".join(README.split())


def test_every_run_is_whole():
    for path in STUDY.glob("*/**/cycles.jsonl"):
        about = Path(path.with_name("config.json")).read_text()
        assert path.read_text().count("\n") == 6
        assert '"data.path": "runs/cifar10-jpeg.zip"' in about
