"""The page: one file that holds the answer, every picture and every table."""

import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aljax.report import made, names, sheets, svg, wording
from aljax.report.answers import Answer
from aljax.report.doubt import Doubt
from aljax.report.gallery import CHAPTERS, Chapter, accuracy, between
from aljax.report.gallery.picture import Missing, Picture, main_pair
from aljax.report.images import Images
from aljax.report.reference import Curve
from aljax.report.runs import Study
from aljax.report.settings import Setting
from aljax.report.sheets import Sheet
from aljax.report.style import NARROW, WIDE, Palette, called
from aljax.report.tables import Table, write_csv

# Further settings show their main figure only, to keep a page readable and small.
_WHOLE_SETTINGS = 3
_LONG = 14  # lines of a table that is not folded
_OURS = "– aljax report</title>"
_LINKED = re.compile(r'href="((?:figures|tables|sheets)/[\w-]+\.\w+)"')


@dataclass(frozen=True, eq=False)
class Report:
    """Everything that a page tells."""

    study: Study
    answers: tuple[Answer, ...]
    doubts: tuple[Doubt, ...]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()  # what verdicts mean
    reference: tuple[Curve, ...] = ()
    images: Images | None = None
    command: str | None = None  # that made the report


@dataclass(frozen=True)
class Figure:
    """A picture as the template takes it."""

    picture: Picture
    wide: Markup | None  # None: the narrow one serves every screen
    narrow: Markup


@dataclass(frozen=True)
class Block:
    """What one section shows of one setting."""

    setting: str
    figures: tuple[Figure | Missing, ...] = ()
    tables: tuple[Table, ...] = ()
    sheets: tuple[tuple[int, tuple[Sheet, ...]], ...] = ()  # by cycle
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A chapter of the page."""

    name: str  # in links
    title: str
    blocks: tuple[Block, ...]


def write_page(report: Report, out: Path) -> Path:
    """Writes `index.html`, and every figure, table and sheet beside it.

    Args:
        report: what to tell.
        out: a folder, made if needed. Files that its former page links are removed,
            lest they pass for results of these runs; others stay.

    Returns:
        the path of the page.
    """
    page = out / "index.html"
    for name in _former(page):
        (out / name).unlink(missing_ok=True)
    for folder in ("figures", "tables", "sheets"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for table in report.tables:
        write_csv(table, out / "tables")
    sections = _Sections(report, out)
    text = (
        _environment()
        .get_template("page.html")
        .render(
            title=_title(report),
            lead=_lead(report),
            report=report,
            main=sections.main(),
            sections=sections.all(),
            facts=made.facts(report.study, report.command),
            configuration=made.configuration(report.study),
            caption=sheets.caption,
            enlarged=sheets.enlarged,
            called=called,
            is_number=_is_number,
            long=_LONG,
        )
    )
    page.write_text(text, encoding="utf-8")
    return page


def _former(page: Path) -> list[str]:
    """The files that a page links which is there; none if it is not one of aljax."""
    if not page.exists():
        return []
    text = page.read_text(encoding="utf-8", errors="replace")
    return _LINKED.findall(text) if _OURS in text else []


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("aljax.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["unbroken"] = _unbroken
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.tests["missing"] = lambda figure: isinstance(figure, Missing)
    return environment


class _Sections:
    """Draws the sections of a page, and writes their files."""

    def __init__(self, report: Report, out: Path):
        self._report, self._out = report, out
        self._palette = Palette(report.study.runs)
        self._drawn = 0  # figures so far
        self._settings = [s for s in report.study.settings if s.cells]

    def main(self) -> tuple[Block, ...]:
        """The main figure: of what settings change, and of every setting."""
        palette, reference = self._palette, self._report.reference
        changed = between.by_setting(self._settings)
        first = (Block("", (self._draw(changed),)),) if changed else ()
        return first + tuple(
            Block(s.name, (self._draw(accuracy.main(s, palette, reference)),))
            for s in self._settings
        )

    def all(self) -> tuple[Section, ...]:
        """The chapters after the main figure, but those with nothing to say."""
        sections = map(self._section, CHAPTERS)
        return tuple(section for section in sections if section.blocks)

    def _section(self, chapter: Chapter) -> Section:
        tables = [t for t in self._report.tables if t.section in chapter.tables]
        blocks = []
        if chapter.name == "settings" and tables:  # which are of no single one
            blocks, tables = [Block("", (), tuple(tables))], []
        for number, setting in enumerate(self._settings):
            whole = number < _WHOLE_SETTINGS
            found = chapter.pictures(setting, self._palette) if whole else ()
            block = Block(
                setting.name,
                tuple(map(self._draw, found)),
                tuple(t for t in tables if t.setting == setting.name),
                *self._sheets(setting) if whole and chapter.name == "bought" else (),
            )
            if block.figures or block.tables or block.notes:
                blocks.append(block)
        return Section(chapter.name, chapter.title, tuple(blocks))

    def _draw(self, picture: Picture | Missing) -> Figure | Missing:
        """Draws a picture for both widths, and saves its files."""
        if isinstance(picture, Missing):
            return picture
        path = self._out / "figures" / picture.stem
        drawn = {}
        for width in (NARROW,) if picture.small else (WIDE, NARROW):
            figure = picture.draw(width)
            self._drawn += 1
            name = f"f{self._drawn}"  # of few letters: pages hold thousands of it
            text = svg.draw(figure, name)
            if width == WIDE or picture.small:
                path.with_suffix(".svg").write_text(text, encoding="utf-8")
                svg.save_png(figure, path.with_suffix(".png"))
            drawn[width] = Markup(svg.inline(text, name))
        return Figure(picture, drawn.get(WIDE), drawn[NARROW])

    def _sheets(self, setting: Setting) -> tuple[tuple, tuple[str]]:
        """Sheets by cycle of what was bought, and what to say of them."""
        pair = main_pair(setting)
        runs = sheets.choose_runs(setting, pair)
        pool = None
        if self._report.images is not None and runs:
            pool = self._report.images(runs[0])
        if pool is None:
            return (), (
                "No images are shown: they could not be had where this was made.",
            )
        found = sheets.make_sheets(runs, pool, setting.class_names, setting.slug)
        if not found:
            return (), ("No images are shown: no strategy has bought any yet.",)
        for sheet in found:
            sheets.save_sheet(sheet, self._out / "sheets" / f"{sheet.stem}.png")
        cycles = sorted({sheet.cycle for sheet in found})
        note = (
            f"{names.pair_name(*pair)}, trial {runs[0].trial}: the first "
            f"{len(found[0].tiles)} images that each strategy bought, most wanted "
            "first where scores were recorded. "
        )
        if any(tile.right is not None for sheet in found for tile in sheet.tiles):
            note += "Beneath: true class → what the network took it for, and the score."
        else:
            note += "What the network took them for was not recorded by these runs."
        by_cycle = tuple(
            (cycle, tuple(sheet for sheet in found if sheet.cycle == cycle))
            for cycle in cycles
        )
        return by_cycle, (note,)


def _title(report: Report) -> str:
    """The question that the runs can answer."""
    kinds = [s for s in report.study.settings if s.cells]
    optimizers = any(len(s.optimizers) > 1 for s in kinds)
    models = any(len(s.models) > 1 for s in kinds)
    if optimizers and models:
        return "Which optimizer and which network make active learning pay?"
    if optimizers or models:
        which = "optimizer" if optimizers else "network"
        return f"Which {which} makes active learning pay?"
    if len(kinds) > 1 and not any(len(s.strategies) > 1 for s in kinds):
        return "What do settings change?"
    return "Does it pay to choose the images?"


def _lead(report: Report) -> str:
    """What was run, in a line."""
    runs = [run for run in report.study.runs if run.rows]
    parts = [
        names.listed([called(kind, n) for n in _in_order(report, kind)])
        for kind in ("model", "optimizer", "strategy")
    ]
    cells = [
        setting.cell(*c) for setting in report.study.settings for c in setting.cells
    ]
    data = names.listed(sorted({run.config.get("data.name", "?") for run in runs}))
    labels = [row["labeled"] for run in runs for row in run.rows]
    parts.append(wording.trials(map(len, cells)))
    parts.append(f"{data}, {min(labels):,} to {max(labels):,} labels")
    return " · ".join(parts)


def _in_order(report: Report, kind: str) -> list[str]:
    found = [n for s in report.study.settings for n in s.levels(kind)]
    return list(dict.fromkeys(found))


def _unbroken(text: str) -> str:
    """Keeps a number on one line with its sign or unit."""
    for pair in (" %", " ±", "± ", "n = ", "n ≥ "):
        text = text.replace(pair, pair.replace(" ", "\N{NO-BREAK SPACE}"))
    return text


def _is_number(text: object) -> bool:
    """Whether a cell of a table is set right: a number, with or without more."""
    text = str(text).lstrip("+-−±~≥≤<> ")
    return text[:1].isdigit() or text in ("", "–", "—", "not recorded", "not reached")
