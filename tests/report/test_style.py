"""Colours and names: the same for the same, apart for the different."""

from aljax.report.style import RANDOM, Palette, called, shorten
from tests.support.records import record


def _palette(*strategies):
    return Palette([record([0.5], strategy=name) for name in strategies])


def test_a_known_name_has_its_colour_whatever_else_is_shown():
    few, many = (
        _palette("margin", "random"),
        _palette("random", "entropy", "margin", "badge", "a", "z"),
    )
    for name in ("random", "margin"):
        assert few.look("strategy", name) == many.look("strategy", name)
    assert few.look("strategy", "margin").colour == "#009e73"


def test_random_is_grey_dashed_and_beneath():
    palette = _palette("random", "entropy")
    random, entropy = (palette.look("strategy", n) for n in ("random", "entropy"))
    assert random.colour == RANDOM and random.dashes != "-"
    assert random.depth < entropy.depth and entropy.dashes == "-"


def test_all_names_can_be_told_apart():
    names = ["random", "entropy", "badge", *(f"own_{i:02}" for i in range(12))]
    palette = _palette(*names)
    looks = {
        (look.colour, look.marker)
        for look in (palette.look("strategy", name) for name in names)
    }
    assert len(looks) == len(names)
    first = {palette.look("strategy", name).colour for name in names[1:9]}
    assert len(first) == 8  # the first eight by colour alone


def test_the_order_of_runs_changes_no_colour():
    names = ["b", "a", "entropy", "c"]
    one, two = _palette(*names), _palette(*reversed(names))
    for name in names:
        assert one.look("strategy", name) == two.look("strategy", name)


def test_names_of_other_people_fit_on_a_line():
    assert shorten("a\nb\tc\x00") == "a\ufffdb\ufffdc\ufffd"
    assert shorten("x" * 30, 10) == "x" * 9 + "…"
    assert called("strategy", "learning_loss") == "learning loss"
    assert called("model", "resnet18") == "ResNet18"
