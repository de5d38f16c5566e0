"""Everything that should make a reader careful; nothing for clean runs."""

from collections.abc import Iterable, Iterator

from aljax.report import fairness, leaks
from aljax.report.doubt import SHOWN, Doubt
from aljax.report.runs import Study


def doubts(study: Study) -> tuple[Doubt, ...]:
    """The warnings of a study: leaks first, then what is unfair, missing or unreadable.

    Those on one of several settings begin with its name.
    """
    found = []
    for check in (leaks.doubts, fairness.doubts):
        for setting in study.settings:
            for doubt in _few(check(setting)):
                named = f"{setting.name}: {doubt.text}" if setting.name else doubt.text
                found.append(Doubt(doubt.kind, named))
    found += [*fairness.settings(study), *fairness.unfinished(study)]
    found += _few(Doubt("reading", text) for text in study.warnings)
    return tuple(found)


def _few(found: Iterable[Doubt]) -> Iterator[Doubt]:
    """The first of each kind, and how many more there are."""
    kinds: dict[str, list[Doubt]] = {}
    for doubt in found:
        kinds.setdefault(doubt.kind, []).append(doubt)
    for kind, alike in kinds.items():
        more = len(alike) - SHOWN
        for place, doubt in enumerate(alike[:SHOWN], 1):
            last = place == SHOWN and more > 0
            text = f"{doubt.text} (And {more} more like this.)" if last else doubt.text
            yield Doubt(kind, text)
