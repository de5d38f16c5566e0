"""README.md and docs/: their blocks, tables, links and commands."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCS = sorted((ROOT / "docs").glob("*.md"))
BENCHMARKS = ROOT / "benchmarks"
PAGES = [
    ROOT / "README.md",
    *DOCS,
    BENCHMARKS / "README.md",
    BENCHMARKS / "study" / "README.md",
]


def section(text: str, title: str) -> str:
    """What stands under a heading of the second level."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def files(text: str) -> dict[str, str]:
    """The Python blocks that a line with a file's name stands over, by that name."""
    found = re.findall(
        r"^`(\w+\.py)`[^\n]*:\n\n```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL
    )
    return dict(found)


def table(text: str) -> list[list[str]]:
    """The cells of every line of a table but its head."""
    lines = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


def names(text: str) -> list[str]:
    """Every single word in backquotes."""
    return re.findall(r"`(\w+)`", text)


def anchors(page: Path) -> set[str]:
    """What a link may name behind #: the headings, as GitHub spells them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in words}


def commands(page: Path) -> list[list[str]]:
    """The arguments of every call of aljax in the shell blocks of a page."""
    found = []
    for block in blocks(page.read_text(), "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            for program in (["aljax"], [".venv/bin/aljax"], ["python", "launch.py"]):
                if words[: len(program)] == program:
                    found.append(words[len(program) :])
    return found
