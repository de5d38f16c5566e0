"""Figures as files, and as a part of a page: the same bytes each time."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree

from matplotlib.figure import Figure

from aljax.report import style

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_HREF = f"{{{_XLINK}}}href"
_DPI = 160
# What a page swaps for its own colours, in both schemes.
_VARIABLES = {
    style.INK: "var(--ink)",
    style.MUTED: "var(--muted)",
    style.RULE: "var(--rule)",
    style.FAINT: "var(--faint)",
    style.GROUND: "var(--ground)",
    style.RANDOM: "var(--random)",
}
_COLOURS = re.compile("|".join(_VARIABLES))
_FONT = re.compile(r"(font:[^;]*?\d+(?:\.\d+)?px)[^;]*")
_FAINT = re.compile(r"(stroke-opacity): ([\d.]+)")
_LONG = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_SPACES = re.compile(r" ?([A-Za-z]) ?")  # around the commands of a path
_ID = re.compile(r"#([^)]+)")
_NUMBERS = ("d", "x", "y", "x1", "x2", "y1", "y2", "width", "height")

ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)


def draw(figure: Figure, salt: str) -> str:
    """A figure as an SVG file; the salt keeps its ids apart from other figures'."""
    text = io.StringIO()
    with style.styled():
        import matplotlib

        matplotlib.rcParams["svg.hashsalt"] = salt
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def save_png(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG file of 160 points an inch."""
    with style.styled():
        figure.savefig(path, format="png", dpi=_DPI, metadata={"Software": None})


def inline(svg: str, name: str) -> str:
    """An SVG file as an element of a page, in half of the bytes.

    It has the page's type and colours, numbers of one digit behind the point, and ids
    that begin with a name. Text stays text, and is escaped.

    Args:
        svg: from `draw`.
        name: of the figure, unique in the page.
    """
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    ids: dict[str, str] = {}
    for element in root.iter():
        _adapt(element, name, ids)
        if not (element.text or "").strip():
            element.text = None
        element.tail = None
    for element in root.iter(f"{{{_SVG}}}g"):
        _share_style(element)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("aria-hidden", "true")  # the figure around it has the text for it
    root.set("focusable", "false")
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(element: ElementTree.Element, name: str, ids: dict[str, str]) -> None:
    """Changes the attributes of one element; never its text.

    Args:
        element: of the SVG.
        name: of the figure.
        ids: old to new, of those that were met.
    """

    def renamed(old: str) -> str:
        return ids.setdefault(old, f"{name}-{len(ids)}")

    attributes = element.attrib
    if element.tag == f"{{{_SVG}}}g":
        attributes.pop("id", None)  # nothing refers to groups
    elif "id" in attributes:
        attributes["id"] = renamed(attributes["id"])
    for key in ("clip-path", _HREF):
        if "#" in attributes.get(key, "") and not attributes[key].startswith("data:"):
            attributes[key] = _ID.sub(lambda m: f"#{renamed(m[1])}", attributes[key])
    if "style" in attributes:
        found = _COLOURS.sub(lambda m: _VARIABLES[m[0]], attributes["style"])
        found = _FAINT.sub(r"\1:calc(\2*var(--more))", found)
        found = _FONT.sub(r"\1 var(--sans)", found)
        attributes["style"] = found.replace("; ", ";").replace(": ", ":")
    for key in _NUMBERS:
        if key in attributes:
            short = _LONG.sub(_tenths, attributes[key])
            attributes[key] = _SPACES.sub(r"\1", " ".join(short.split()))


def _share_style(group: ElementTree.Element) -> None:
    """Gives a group the style that all of its elements have."""
    styles = {child.get("style") for child in group}
    if len(group) > 1 and len(styles) == 1 and None not in styles:
        if "style" not in group.attrib:
            group.set("style", styles.pop())
            for child in group:
                del child.attrib["style"]


def _tenths(number: re.Match) -> str:
    text = f"{float(number[0]):.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def safe(name: str) -> str:
    """A name of somebody else's as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)[:60] or "unnamed"
