"""Sheets of images: what a strategy bought for a cycle, most wanted first."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from aljax.report import style, svg
from aljax.report.record import Record
from aljax.report.settings import Setting

MOST = 20  # images of a sheet
SIDE = 64  # pixels of an image on the page
CHANNELS = (1, 3)  # of images that can be shown: grey, or red, green and blue
_BYTES = 1_800_000  # that all sheets of a page may take
_SHARP = 40  # pixels: larger images are compressed as photographs
_COLUMNS = 10
_LONGEST = 20  # letters of a class


@dataclass(frozen=True)
class Tile:
    """One image that was bought, and what is known of it; None: not recorded."""

    index: int  # in the pool
    true: str | None
    predicted: str | None
    score: float | None

    @property
    def right(self) -> bool | None:
        """Whether the network knew it before it was bought."""
        if self.true is None or self.predicted is None:
            return None
        return self.true == self.predicted


@dataclass(frozen=True)
class Sheet:
    """What one run bought for one cycle: the first of its images in one sprite."""

    strategy: str
    cycle: int
    labels: tuple[int, int]  # before and after
    tiles: tuple[Tile, ...]
    sprite: bytes  # the images from left to right, an encoded file
    kind: str  # "png" or "jpeg"
    size: tuple[int, int]  # of an image in the sprite, pixels: width, height
    slug: str = ""  # of the setting, for the name of its file

    @property
    def stem(self) -> str:
        """The name of its file, without its ending."""
        parts = ("bought", self.strategy, f"cycle_{self.cycle}", self.slug)
        return "_".join(svg.safe(part) for part in parts if part)

    @property
    def source(self) -> str:
        """The sprite as a data URI."""
        coded = base64.b64encode(self.sprite).decode("ascii")
        return f"data:image/{self.kind};base64,{coded}"


def make_sheets(
    runs: Sequence[Record],
    pool: np.ndarray,
    classes: Sequence[str] | None,
    slug: str = "",
) -> tuple[Sheet, ...]:
    """Makes a sheet for every cycle that bought by strategy, of every run.

    Args:
        runs: of the same images; one per strategy.
        pool: uint8 `[N, H, W, C]`, C of CHANNELS, what `queried` points into.
        classes: names; None: numbers stand for them.
        slug: of their setting, for the names of files.

    Returns:
        by cycle, then in the order of the runs; fewer images a sheet where there are
        so many that the page would grow large.
    """
    places = [
        (run, i) for i in range(_cycles(runs)) for run in runs if _has(run, i, pool)
    ]
    if not places:
        return ()
    small = _shrink(pool[:1])
    each = small[0].size * (0.8 if _sharp(small) else 0.25)  # bytes, as found
    fitting = _BYTES * 3 / 4 / len(places) / each  # base64 takes a third more
    most = next((n for n in (MOST, MOST // 2) if n <= fitting), MOST // 4)
    return tuple(_sheet(run, i, pool, classes, most, slug) for run, i in places)


def _cycles(runs: Sequence[Record]) -> int:
    return max((len(run.rows) for run in runs), default=0)


def _has(run: Record, place: int, pool: np.ndarray) -> bool:
    """Whether a run's strategy chose images at a row, and they are in the pool."""
    if place >= len(run.rows):
        return False
    if place == 0 and run.config.get("initial_query", "random") == "random":
        return False
    queried = run.rows[place]["queried"]
    return queried is not None and len(queried) > 0 and queried.max() < len(pool)


def _sheet(run: Record, place: int, pool, classes, most: int, slug: str) -> Sheet:
    row = run.rows[place]
    queried, scores = row["queried"], row["queried_scores"]
    order = np.arange(len(queried))
    if scores is not None:
        order = np.argsort(-scores, kind="stable")
    order = order[:most]
    known = {
        "true": _named(row["queried_labels"], classes),
        "predicted": _named(row["queried_predictions"], classes),
        "score": None if scores is None else scores.tolist(),
    }
    tiles = tuple(
        Tile(int(queried[i]), *(None if v is None else v[i] for v in known.values()))
        for i in order
    )
    images = _shrink(pool[queried[order]])
    sprite, kind = _encode(images)
    before = run.rows[place - 1]["labeled"] if place else 0
    size = images.shape[2], images.shape[1]
    return Sheet(
        run.strategy,
        row["cycle"],
        (before, row["labeled"]),
        tiles,
        sprite,
        kind,
        size,
        slug,
    )


def _named(indices: np.ndarray | None, classes: Sequence[str] | None):
    """Names of classes; a number where there is no name."""
    if indices is None:
        return None
    names = classes or ()
    return [names[i] if 0 <= i < len(names) else f"class {i}" for i in indices.tolist()]


def _shrink(images: np.ndarray) -> np.ndarray:
    """Makes images larger than a tile as small as one; others stay as they are."""
    height, width = images.shape[1:3]
    if max(height, width) <= SIDE:
        return images
    factor = SIDE / max(height, width)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.stack(
        [_array(_picture(image).resize(size, Image.Resampling.BOX)) for image in images]
    )


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _array(picture: Image.Image) -> np.ndarray:
    found = np.asarray(picture)
    return found if found.ndim == 3 else found[..., None]


def _sharp(images: np.ndarray) -> bool:
    return max(images.shape[1:3]) <= _SHARP


def _encode(images: np.ndarray) -> tuple[bytes, str]:
    """Puts images `[N, H, W, C]` side by side into a PNG, or a JPEG where large."""
    row = np.concatenate(list(images), 1)
    file = io.BytesIO()
    if _sharp(images):
        _picture(row).save(file, "PNG", optimize=True)
        return file.getvalue(), "png"
    _picture(row).save(file, "JPEG", quality=88)
    return file.getvalue(), "jpeg"


def save_sheet(sheet: Sheet, path: Path) -> None:
    """Writes a sheet as a picture: frames, marks, classes and scores.

    Images are enlarged without smoothing. The frame is blue with a tick where the
    network was right, orange with a cross where it was wrong.
    """
    cell = SIDE + 12, SIDE + 40
    columns = min(_COLUMNS, len(sheet.tiles))
    rows = -(-len(sheet.tiles) // columns)
    page = Image.new("RGB", (cell[0] * columns + 8, cell[1] * rows + 8), "white")
    pen, font = ImageDraw.Draw(page), _font()
    sprite = Image.open(io.BytesIO(sheet.sprite)).convert("RGB")
    for i, tile in enumerate(sheet.tiles):
        x, y = 10 + i % columns * cell[0], 10 + i // columns * cell[1]
        left = i * sheet.size[0]
        image = sprite.crop((left, 0, left + sheet.size[0], sheet.size[1]))
        page.paste(image.resize(enlarged(sheet), Image.Resampling.NEAREST), (x, y))
        _frame(pen, tile, x, y, enlarged(sheet))
        for line, text in enumerate(caption(tile)):
            text = style.shorten(text, 12)
            pen.text((x - 2, y + SIDE + 3 + 11 * line), text, style.INK, font)
    page.save(path, "PNG")


def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along and which has arrows."""
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(path, 9)


def enlarged(sheet: Sheet) -> tuple[int, int]:
    """Width and height of an image on the page, pixels."""
    factor = SIDE / max(sheet.size)
    return round(sheet.size[0] * factor), round(sheet.size[1] * factor)


def caption(tile: Tile) -> list[str]:
    """What stands beneath an image: true → predicted, and the score."""
    lines = [style.shorten(tile.true, _LONGEST)] if tile.true is not None else []
    if tile.predicted is not None:
        lines.append(f"→ {style.shorten(tile.predicted, _LONGEST)}")
    if tile.score is not None:
        lines.append(f"{tile.score:.3g}")
    return lines


def _frame(pen: ImageDraw.ImageDraw, tile: Tile, x: int, y: int, size) -> None:
    if tile.right is None:
        return
    colour = style.GOOD if tile.right else style.BAD
    box = (x - 3, y - 3, x + size[0] + 2, y + size[1] + 2)
    pen.rectangle(box, outline=colour, width=3)
    corner = x + size[0] - 12, y + size[1] - 12
    pen.rectangle((*corner, corner[0] + 12, corner[1] + 12), colour)
    steps = ((2, 6), (5, 9), (10, 3)) if tile.right else ((3, 3), (9, 9))
    pen.line([(corner[0] + a, corner[1] + b) for a, b in steps], "white", 2)
    if not tile.right:
        steps = ((9, 3), (3, 9))
        pen.line([(corner[0] + a, corner[1] + b) for a, b in steps], "white", 2)


def choose_runs(setting: Setting, pair: tuple[str, str]) -> tuple[Record, ...]:
    """The runs whose purchases are shown: one trial of a pair, every strategy.

    The trial is the first that most strategies have; `random` comes last.
    """
    found = [run for s in setting.strategies for run in setting.cell(*pair, s)]
    units = sorted({run.unit for run in found})
    if not units:
        return ()
    count = {unit: sum(run.unit == unit for run in found) for unit in units}
    unit = max(units, key=lambda unit: (count[unit], [-part for part in unit]))
    chosen = [run for run in found if run.unit == unit]
    return tuple(sorted(chosen, key=lambda run: run.strategy == "random"))
