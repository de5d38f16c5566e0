"""Pictures of accuracy over labels."""

from collections.abc import Sequence

from aljax.report import names
from aljax.report.figures.curves import comparable, curves, facets
from aljax.report.gallery.picture import Picture, trials
from aljax.report.matches import BASELINE
from aljax.report.reference import Curve
from aljax.report.settings import Setting
from aljax.report.style import Palette, called

_BY = {
    "strategy": ("by strategy", "network and optimizer"),
    "optimizer": ("by optimizer", "network and strategy"),
    "model": ("by network", "optimizer and strategy"),
}
_MOST_NAMED = 4  # panels whose last values the text for the blind lists


def main(
    setting: Setting, palette: Palette, reference: Sequence[Curve] = ()
) -> Picture:
    """The figure that a page opens with: every pair, every strategy."""
    of_data = [curve for curve in reference if curve.data == setting.data]
    shown = facets(setting, "strategy", "test_accuracy", {})
    drawn = comparable(of_data, shown, "strategy")
    caption = (
        "A strategy pays where its line lies above the grey dashed one of random. "
        if BASELINE in setting.strategies and len(setting.strategies) > 1
        else ""
    )
    return Picture(
        setting.stem("accuracy_by_strategy"),
        "Accuracy over labels, by strategy",
        caption + trials(setting, setting.cells) + _published(drawn),
        _last_values(setting, "strategy", {}),
        lambda width: curves(setting, palette=palette, width=width, reference=of_data),
    )


def _published(drawn: Sequence[Curve]) -> str:
    """What dotted lines are, and whose."""
    sources: dict[str, list[str]] = {}
    for curve in drawn:
        about = f"n = {curve.n}; {curve.source}" if curve.n else curve.source
        sources.setdefault(about, []).append(curve.name)
    said = [f"{names.listed(found)} ({about})" for about, found in sources.items()]
    return f" Dotted lines are published, not run here: {'; '.join(said)}." * bool(said)


def more_curves(setting: Setting, palette: Palette) -> list[Picture]:
    """Accuracy by optimizer, by network, and the seed report's first figure."""
    pictures = []
    if {"resnet18", "resnet34"} <= set(setting.models) and "sgd" in setting.optimizers:
        only = {"model": ("resnet18", "resnet34"), "optimizer": ("sgd",)}
        pictures.append(
            _curves(
                setting,
                palette,
                "model",
                "ResNet18 against ResNet34 with SGD",
                "resnet18_resnet34_sgd",
                only,
            )
        )
    for by in ("optimizer", "model"):
        if len(setting.levels(by)) > 1:
            title = f"Accuracy over labels, {_BY[by][0]}"
            pictures.append(
                _curves(setting, palette, by, title, f"accuracy_by_{by}", {})
            )
    return pictures


def _curves(setting, palette, by: str, title: str, name: str, only) -> Picture:
    caption = (
        f"A panel for each {_BY[by][1]}; all have the same axes. "
        if len(facets(setting, by, "test_accuracy", only)) > 1
        else ""
    )
    return Picture(
        setting.stem(name),
        title,
        caption + trials(setting, setting.cells),
        _last_values(setting, by, only),
        lambda width: curves(setting, by, palette=palette, width=width, only=only),
    )


def _last_values(setting: Setting, by: str, only) -> str:
    """The last mean of every line, for those who do not see it."""
    shown = facets(setting, by, "test_accuracy", only)
    said = []
    for panel in shown[:_MOST_NAMED]:
        values = [f"{called(by, n)} {s.last:.1f} %" for n, s in panel.series.items()]
        said.append(f"{panel.title + ': ' if panel.title else ''}{', '.join(values)}")
    rest = f" {len(shown) - len(said)} more panels." if len(shown) > len(said) else ""
    return f"Line chart. Last means: {'; '.join(said)}.{rest}"
