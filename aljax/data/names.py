"""Names of files and classes as messages and reports show them."""

from collections.abc import Sequence

NAMED = 5  # files which a message names before it counts


def some(names: Sequence[str]) -> str:
    """The first few names and a count of the others, on one line."""
    rest = len(names) - NAMED
    shown = ", ".join(printable(name) for name in names[:NAMED])
    return shown + (f" and {rest} more" if rest > 0 else "")


def printable(name: str) -> str:
    """A name with escapes for line ends and for bytes which are not UTF-8."""
    text = unicode(name)
    return text if text.isprintable() else repr(text)[1:-1]


def unicode(name: str) -> str:
    r"""A name of a file system, whose bytes that are not UTF-8 become `\xe9`.

    Python keeps such bytes as lone surrogates, which no file and no screen takes.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
