"""The page: whole, in order, the same each time, and true of odd runs."""

import re
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from aljax.report import write_report
from tests.support import made_up_runs as made

SMALL = made.Grid(
    made.curves({"entropy": 0.02, "adam": -0.03}, cycles=3),
    optimizers=("sgd", "adam"),
    trials=3,
    cycles=3,
)
ODD = ("<script>alert(1)</script>", "$x^2$", "--> &amp;", *made.CLASSES[3:])
VOID = {"meta", "link", "br", "img", "hr"}


def _pool(record):
    return np.zeros((made.POOL, 8, 8, 1), np.uint8)


def _write(tmp_path, grid, name="report", images=_pool):
    workdir = tmp_path / "runs"
    if not workdir.exists():
        made.write(workdir, grid)
    return write_report([workdir], tmp_path / name, images=images)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return _write(tmp_path_factory.mktemp("page"), SMALL)


class Outline(HTMLParser):
    """The tags of a page: headings, ids, links; fails where they do not close."""

    def __init__(self, text):
        super().__init__()
        self.open, self.headings, self.ids, self.links = [], [], [], []
        self.tags, self.words = set(), []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        self.links += [attributes[n] for n in ("href", "src") if n in attributes]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        self.words.append(data)


def _linked(page):
    """The files beside a page that it links."""
    links = Outline(page.read_text()).links
    folders = ("figures/", "tables/", "sheets/")
    return {page.parent / link for link in links if link.startswith(folders)}


def test_the_answer_comes_first_then_the_figure_then_the_rest(page):
    text = page.read_text()
    places = [
        text.index(f'id="{name}"')
        for name in (
            *("answer", "warnings", "main", "bought", "curves", "tables", "random"),
            *("between", "classes", "calibration", "cost", "made"),
        )
        if f'id="{name}"' in text
    ]
    assert places == sorted(places) and len(places) >= 11
    assert "SGD has the highest accuracy" in text


def test_the_page_is_whole_by_itself(page):
    text = page.read_text()
    outline = Outline(text)
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.headings[0] == 1 and outline.headings.count(1) == 1
    steps = np.diff(outline.headings)
    assert steps.max() <= 1  # no level is left out
    assert "script" not in outline.tags
    for link in outline.links:
        if link.startswith("#"):
            assert link[1:] in outline.ids
        elif not link.startswith("data:"):
            assert (page.parent / link).is_file(), link
    assert "url(http" not in text and '<html lang="en">' in text
    assert _linked(page) == set(page.parent.glob("*/*"))


def test_every_figure_and_table_lies_beside_it(page):
    figures = {path.name for path in (page.parent / "figures").iterdir()}
    stems = {name.rsplit(".")[0] for name in figures}
    assert figures == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    assert {
        *("accuracy_by_strategy", "accuracy_by_optimizer", "against_random"),
        *("penalties", "class_accuracy", "confusion", "classes_bought", "overlap"),
        *("calibration_error", "reliability", "cost_train_seconds", "seconds"),
    } <= stems
    sheets = {path.name for path in (page.parent / "sheets").iterdir()}
    assert "bought_entropy_cycle_2.png" in sheets
    assert (page.parent / "tables/cycles.csv").is_file()


def test_made_again_it_is_the_same_bytes(page):
    again = write_report(
        [page.parents[1] / "runs"], page.parents[1] / "b", images=_pool
    )
    one, two = (
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*")}
        for folder in (page.parent, again.parent)
    )
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []


def test_files_of_a_former_page_go_and_a_users_own_stay(tmp_path):
    out = _write(tmp_path, SMALL).parent
    own = out / "figures" / "talk.png"
    own.write_bytes(b"mine")
    former = set(out.glob("*/*"))
    made.write(tmp_path / "fewer", replace(SMALL, strategies=("random",)))
    page = write_report([tmp_path / "fewer"], out, images=_pool)
    assert set(out.glob("*/*")) == {*_linked(page), own}
    assert former - set(out.glob("*/*"))


def test_files_of_another_page_stay(tmp_path):
    """Of which not even the encoding need be known."""
    own = tmp_path / "report" / "figures" / "talk.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    page = tmp_path / "report" / "index.html"
    page.write_bytes('<title>Café</title><a href="figures/talk.png">'.encode("latin-1"))
    assert _write(tmp_path, replace(SMALL, strategies=("random",))) == page
    assert own.read_bytes() == b"mine"


def test_names_of_other_people_are_text(tmp_path):
    strategies = ("random", "<img src=x onerror=alert(1)>")
    grid = replace(SMALL, classes=ODD, strategies=strategies, optimizers=("sgd",))
    grid = replace(grid, accuracies=lambda m, o, s, t: made.CURVE[:3] + t / 100)
    page = _write(tmp_path, grid)
    outline = Outline(page.read_text())
    assert not {"script", "img"} & outline.tags
    words = "".join(outline.words)
    assert "<script>alert(1)</script>" in words and "$x^2$" in words
    assert "<img src=x onerror=alert(1)>" in words
    assert all(re.fullmatch(r"[\w.-]+", path.name) for path in page.parent.rglob("*.*"))


def test_older_rows_say_what_was_not_recorded(tmp_path):
    page = _write(tmp_path, replace(SMALL, older=True))
    text = page.read_text()
    assert "Calibration was not recorded" in text
    assert "Which classes were bought was not recorded" in text
    assert "took them for was not recorded" in text
    assert not (page.parent / "figures/calibration_error.svg").exists()


def test_without_images_a_sentence_stands_for_them(tmp_path):
    page = _write(tmp_path, SMALL, images=lambda record: None)
    assert "No images are shown" in page.read_text()
    assert not list((page.parent / "sheets").iterdir())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 1}, "One trial a line (n = 1)"),
        ({"trials": 1}, "the differences of one trial (n = 1): no interval"),
        ({"trials": 2}, "thin lines the trials; too few for an interval"),
        ({"strategies": ("random",)}, "Only random was run"),
        ({"strategies": ("entropy",)}, "Random was not run"),
    ],
)
def test_few_runs_make_a_true_page(tmp_path, changes, said):
    text = _write(tmp_path, replace(SMALL, **changes)).read_text()
    assert said in text.replace("\N{NO-BREAK SPACE}", " ")
    Outline(text)


def test_one_cycle_makes_a_true_page(tmp_path):
    grid = replace(SMALL, cycles=1, accuracies=lambda m, o, s, t: [0.5])
    text = _write(tmp_path, grid).read_text()
    assert "no strategy has bought any yet" in text
    Outline(text)


def test_settings_are_told_one_by_one(tmp_path):
    folders = [
        made.write(tmp_path / str(width), replace(SMALL, config={"width": width}))
        for width in (16, 64)
    ]
    page = write_report(folders, tmp_path / "report")
    text = page.read_text()
    assert text.count('<p class="setting">width 16</p>') > 5
    assert text.count('<p class="setting">width 64</p>') > 5
    Outline(text)
    stems = {path.stem for path in (page.parent / "figures").iterdir()}
    assert {"accuracy_by_strategy_setting_1", "accuracy_by_strategy_setting_2"} <= stems


def test_templates_come_with_the_package():
    folder = resources.files("aljax.report")
    for name in ("page.html", "parts.html", "page.css"):
        assert (folder / "templates" / name).is_file()
    project = Path(__file__).parents[2] / "pyproject.toml"
    wheel = tomllib.loads(project.read_text())["tool"]["hatch"]["build"]["targets"]
    assert wheel["wheel"]["packages"] == ["aljax"]
