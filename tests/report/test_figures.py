"""What is drawn is what was measured."""

import itertools
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from aljax.report import svg
from aljax.report.figures.calibration import pooled, reliability
from aljax.report.figures.classes import bought, class_accuracy, confusion, ends
from aljax.report.figures.cost import cost, seconds
from aljax.report.figures.curves import MOST, curves
from aljax.report.figures.differences import differences, penalties
from aljax.report.figures.lines import Series, apart, thousands
from aljax.report.figures.overlap import overlap
from aljax.report.gallery import pictures
from aljax.report.gallery.accuracy import main
from aljax.report.reference import Curve
from aljax.report.runs import read
from aljax.report.style import GROUND, NARROW, RANDOM, Look, Palette
from tests.support import made_up_runs as made
from tests.support.records import record, setting

THREE = setting(
    *(record([0.5 + d, 0.6 + d], trial=t) for t, d in ((1, 0.0), (2, 0.02), (3, 0.04))),
    record([0.4, 0.5], strategy="random"),
)


def _lines(axes):
    return {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}


def test_a_curve_is_its_mean_its_interval_and_its_trials():
    (axes,) = curves(THREE).axes
    line = _lines(axes)["entropy"]
    np.testing.assert_allclose(line.get_xdata(), [100, 200])
    np.testing.assert_allclose(line.get_ydata(), [52, 62])
    (band,) = [c for c in axes.collections if c.get_label() == "_band"]
    # sd 2, n 3: 4.303 · 2 / √3 = 4.968
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(52 - 4.968, abs=1e-3)
    assert heights.max() == pytest.approx(62 + 4.968, abs=1e-3)
    (trials,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    drawn = [segment[:, 1].tolist() for segment in trials.get_segments()]
    assert np.allclose(drawn, [[50, 60], [52, 62], [54, 64]])
    low, high = axes.get_ylim()
    assert low < heights.min() and high > heights.max()


def test_one_trial_has_no_band_and_random_is_grey_and_dashed():
    (axes,) = curves(THREE).axes
    random = _lines(axes)["random"]
    assert random.get_color() == RANDOM and random.get_linestyle() == "--"
    np.testing.assert_allclose(random.get_ydata(), [40, 50])
    alone = setting(*(run for run in THREE.runs if run.strategy == "random"))
    (axes,) = curves(alone).axes
    assert not axes.collections


def test_titles_take_two_lines_where_one_is_too_short():
    def titles(*strategies):
        runs = [
            record([0.5, 0.6], model=model, strategy=strategy)
            for model in ("resnet18", "resnet34")
            for strategy in strategies
        ]
        figure = curves(setting(*runs), "optimizer", width=NARROW)
        return [axes.get_title(loc="left") for axes in figure.axes]

    assert titles("margin", "learning_loss")[:2] == [
        "ResNet18 · margin",
        "ResNet18 · learning loss",
    ]
    own, two = titles("margin", "x" * 40)[:2][::-1]
    assert own.startswith("ResNet18\nxxxxxxxx") and own.endswith("x…")
    assert two == "ResNet18\nmargin"


def test_no_axis_goes_beyond_what_an_accuracy_can_be():
    wide = setting(
        *(record([a, 0.9], trial=t) for t, a in ((1, 0.2), (2, 0.9), (3, 1.0)))
    )
    low, high = curves(wide).axes[0].get_ylim()
    assert -7 < low <= 0 and 100 <= high < 107  # the interval ends at 174


def test_line_ends_carry_names_in_the_order_of_their_heights():
    (axes,) = curves(THREE).axes
    names = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert names.keys() == {"entropy", "random"} and names["entropy"] > names["random"]


def test_a_cycle_that_few_trials_reached_is_a_mean_of_those():
    runs = [record([0.5, 0.6], trial=1), record([0.7], trial=2)]
    series = Series.of(runs, "test_accuracy", 100)
    assert [point.n for point in series.points] == [2, 1]
    np.testing.assert_allclose(series.part("mean"), [60, 60])
    assert np.isnan(series.part("low")).all()


def test_what_was_not_recorded_is_not_zero():
    rows = [{"calibration_error": 0.1}, {"calibration_error": None}]
    some = setting(record([0.5, 0.6], rows=rows))
    (axes,) = curves(some, field="calibration_error").axes
    drawn = _lines(axes)["entropy"].get_ydata()
    assert drawn[0] == pytest.approx(10) and np.isnan(drawn[1])


def test_panels_share_axes_and_show_the_rest():
    grid = setting(
        *(
            record([0.5, 0.6], model=m, optimizer=o, strategy=s)
            for m in ("resnet18", "resnet34")
            for o in ("sgd", "adam")
            for s in ("random", "entropy")
        )
    )
    figure = curves(grid, "optimizer")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [
        "ResNet18 · random",
        "ResNet18 · entropy",
        "ResNet34 · random",
        "ResNet34 · entropy",
    ]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert set(_lines(figure.axes[0])) == {"SGD", "Adam"}
    only = {"model": ("resnet34",), "strategy": ("entropy",)}
    (axes,) = curves(grid, "optimizer", only=only).axes
    assert axes.get_title(loc="left") == ""
    with pytest.raises(ValueError, match="no run of"):
        curves(grid, only={"model": ("resnet50",)})


def test_many_names_get_a_panel_each_with_the_others_in_grey():
    many = setting(*(record([0.5, 0.6 + i / 100], strategy=f"s{i}") for i in range(9)))
    figure = curves(many)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        f"s{i}" for i in range(9)
    ]
    for i, axes in enumerate(figure.axes):
        assert set(_lines(axes)) == {f"s{i}"} and len(axes.lines) == 9


PUBLISHED = Curve(
    *("theirs", "cifar10", "resnet18", "sgd", "random", 3),
    np.array([50, 100, 200, 900]),
    np.array([0.1, 0.25, 0.55, 0.9]),
    None,
    "somebody",
)


def test_published_curves_lie_dotted_under_the_same_pair_only():
    (axes,) = curves(THREE, reference=[PUBLISHED]).axes
    (line,) = [x for x in axes.lines if x.get_label() == "_reference theirs"]
    np.testing.assert_allclose(line.get_xdata(), [100, 200])  # no more than was run
    np.testing.assert_allclose(line.get_ydata(), [25, 55])
    assert line.get_linestyle() == "--" and line.get_marker() == "None"
    assert line.get_zorder() < _lines(axes)["random"].get_zorder()
    other = replace(PUBLISHED, model="resnet50")
    (axes,) = curves(THREE, reference=[other]).axes
    assert not [x for x in axes.lines if x.get_label().startswith("_reference")]
    assert axes.get_ylim() == curves(THREE).axes[0].get_ylim()


def test_heights_move_apart_no_more_than_they_must():
    assert apart([0.1, 0.5], 0.2) == [0.1, 0.5]
    np.testing.assert_allclose(apart([0.5, 0.5], 0.2), [0.4, 0.6])
    np.testing.assert_allclose(apart([0.1, 0.5, 0.5, 0.9], 0.2), [0.1, 0.4, 0.6, 0.9])
    np.testing.assert_allclose(np.diff(apart([0.4, 0.5, 0.5, 0.55], 0.2)), [0.2] * 3)


def test_labels_are_written_as_people_do():
    shown = [thousands(n) for n in (60, 500, 1000, 2500, 10_000, 1_281_167)]
    assert shown == ["60", "500", "1k", "2.5k", "10k", "1.281M"]


def _differences(*trials):
    return Series(np.array([100, 200]), np.array(trials, float))


def test_differences_are_drawn_around_random_at_zero():
    # At 200 labels: mean 2, sd 1, 4.303 · 1 / √3 = 2.484
    found = _differences([0, 1], [0, 2], [0, 3])
    looks = {"entropy": Look("entropy", "#0072b2")}
    random = Look("random", RANDOM, "o", (0, (4, 2)))
    (axes,) = differences({"": {"entropy": found}}, looks, against=random).axes
    np.testing.assert_allclose(_lines(axes)["entropy"].get_ydata(), [0, 2])
    (band,) = [c for c in axes.collections if c.get_label() == "_band"]
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(2 + 2.484, abs=1e-3)
    (zero,) = [line for line in axes.lines if line.get_label() == "_zero"]
    assert set(zero.get_ydata()) == {0.0} and zero.get_color() == RANDOM
    low, high = axes.get_ylim()
    assert -1 < low < -0.484 and 4.484 < high < 5


def test_many_differences_get_a_panel_each():
    tables = {f"s{i}": _differences([0, i]) for i in range(9)}
    looks = {name: Look(name, "#0072b2") for name in tables}
    random = Look("random", RANDOM)
    figure = differences({"all": tables, "one": tables}, looks, against=random)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(tables)
    assert set(_lines(figure.axes[3])) == {"s3"}


def test_penalties_have_the_means_of_columns_beneath():
    matrix = pd.DataFrame([[0.0, 0.5], [1.0, 0.0]], ["a", "b"], ["a", "b"])
    figure = penalties(matrix, ["a", "b"], most=2)
    assert [t.get_text() for t in figure.axes[0].texts] == (
        ["–", "–", "0.50", "1.00", "1.00", "0.50"]
    )


def test_overlap_leaves_the_diagonal_out():
    matrix = pd.DataFrame([[1.0, 0.25], [0.25, 1.0]], ["a", "b"], ["a", "b"])
    texts = [t.get_text() for t in overlap(matrix, ["a", "b"]).axes[0].texts]
    assert sorted(texts) == ["25.0", "25.0", "–", "–"]


def test_a_class_without_images_is_a_dash():
    table = np.array([[0.5, np.nan], [0.75, np.nan]])
    figure = class_accuracy({"entropy": table}, [100, 200], ["cat", "dog"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["–", "–", "50", "75"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["cat", "dog"]


def test_confusions_are_shares_of_true_classes():
    counts = np.array([[3.0, 1.0], [0.0, 0.0]])
    figure = confusion({"entropy": counts}, ["cat", "dog"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["–", "–", "75", "25"]


def test_of_many_classes_the_two_ends_are_shown():
    np.testing.assert_array_equal(ends(np.arange(5.0)), np.arange(5))
    order = np.arange(100.0)[::-1]
    shown = ends(order, 4)
    np.testing.assert_array_equal(shown, [99, 98, 1, 0])
    many = confusion({"": np.eye(100)}, [f"c{i}" for i in range(100)])
    assert not many.axes[0].texts  # no numbers where they cannot be read


def test_dots_are_the_shares_that_were_bought():
    shares = {"a": np.array([0.25, 0.75])}
    looks = {"a": Look("a", "#0072b2")}
    (axes,) = bought(shares, np.array([0.5, 0.5]), ["cat", "dog"], looks).axes
    np.testing.assert_allclose(_lines(axes)["a"].get_xdata(), [25, 75])
    (pool,) = [line for line in axes.lines if line.get_label() == "_pool"]
    np.testing.assert_allclose(pool.get_xdata(), [50, 50])


def test_reliability_adds_trials_up_by_their_images():
    one = {"images": [1, 0], "confidence": [0.2, np.nan], "accuracy": [0.0, np.nan]}
    two = {"images": [3, 2], "confidence": [0.4, 0.9], "accuracy": [1.0, 0.5]}
    found = pooled([one, two])
    np.testing.assert_allclose(found.images, [4, 2])
    np.testing.assert_allclose(found.confidence, [0.35, 0.9])
    np.testing.assert_allclose(found.accuracy, [0.75, 0.5])
    # (4 · (0.35 − 0.75) + 2 · (0.9 − 0.5)) / 6
    assert found.gap == pytest.approx(-100 * 0.8 / 6)
    (axes,) = reliability({"a": found}, {"a": Look("a", "#0072b2")}).axes
    np.testing.assert_allclose(_lines(axes)["a"].get_ydata(), [75, 50])


def test_an_empty_bin_is_not_drawn():
    part = {"images": [0, 2], "confidence": [np.nan, 0.8], "accuracy": [np.nan, 0.5]}
    (axes,) = reliability({"a": pooled([part])}, {"a": Look("a", "#0072b2")}).axes
    np.testing.assert_allclose(_lines(axes)["a"].get_xdata(), [80])


COSTS = pd.DataFrame(
    {
        "model": ["resnet18", "resnet34", "resnet34"],
        "optimizer": ["sgd", "sgd", "adam"],
        "strategy": ["random"] * 3,
        "accuracy": [0.5, 0.75, 0.25],
        "train_seconds": [10.0, 30.0, np.nan],
        "compile_seconds": [1.0, 2.0, 3.0],
        "evaluate_seconds": [1.0, 1.0, 1.0],
        "query_seconds": [2.0, 2.0, 2.0],
        "front": [True, True, False],
    }
)


def palette_of_costs() -> Palette:
    pairs = zip(COSTS["model"], COSTS["optimizer"], strict=True)
    return Palette(record([0.5], model=m, optimizer=o) for m, o in pairs)


def test_costs_that_were_not_recorded_are_left_out():
    (axes,) = cost(COSTS, "train_seconds", palette_of_costs()).axes
    points = {
        line.get_label(): (*line.get_xdata(), *line.get_ydata(), line.get_marker())
        for line in axes.lines
        if line.get_label() != "_front"
    }
    assert points == {
        "_resnet18 sgd random": (10, 50, "o"),
        "_resnet34 sgd random": (30, 75, "s"),
    }
    (front,) = [line for line in axes.lines if line.get_label() == "_front"]
    np.testing.assert_allclose(front.get_xdata(), [10, 30])


def test_random_is_hollow_beside_other_strategies():
    table = COSTS.assign(strategy=["random", "entropy", "random"])
    (axes,) = cost(table, "train_seconds", palette_of_costs()).axes
    fills = {
        line.get_label(): line.get_markerfacecolor() == GROUND for line in axes.lines
    }
    assert fills["_resnet18 sgd random"] and not fills["_resnet34 sgd entropy"]


def test_of_one_pair_every_strategy_is_named_and_none_on_another():
    names = [f"strategy {place}" for place in range(10)]
    table = pd.DataFrame(
        {
            **{"model": "resnet18", "optimizer": "sgd", "strategy": names, "n": 3},
            **{"accuracy": [0.5] * 5 + [0.6] * 5, "peak_host_bytes": range(1, 11)},
        }
    )
    figure = cost(table, "peak_host_bytes", palette_of_costs())
    (axes,) = figure.axes
    assert sorted(text.get_text() for text in axes.texts) == names
    places = {text.get_text(): Text.get_window_extent(text) for text in axes.texts}
    pairs = itertools.combinations(places.values(), 2)
    assert not any(one.overlaps(other) for one, other in pairs)


def test_a_caption_names_published_curves_that_are_drawn_and_no_others():
    random = record([0.5, 0.6], strategy="random")
    others = [record([0.5, 0.6], strategy=f"s{place}") for place in range(MOST)]
    told = "Dotted lines are published, not run here: theirs (n = 3; somebody)."
    for runs, drawn in (
        ([random, others[0]], True),
        (others[:2], False),  # it is of random
        ([random, *others], False),  # each has a panel of its own
        ([record([0.5], strategy="random")], False),  # one budget is no line
    ):
        found = main(setting(*runs), Palette(runs), [PUBLISHED])
        assert (told in found.caption) == drawn == ("published" in found.caption)


def test_panels_of_the_last_rows_are_all_of_one_budget(tmp_path):
    """Entropy's second trial failed with 4,000 labels, BADGE has just begun."""
    grid = made.unfinished()
    plain = grid.accuracies
    begun = replace(
        grid,
        strategies=("random", "entropy", "badge"),
        accuracies=lambda *run: plain(*run[:2], "", 1)[:1] if run[2:] == ("badge", 1)
        else None if run[2] == "badge" else plain(*run),
    )  # fmt: skip
    (one,) = read([made.write(tmp_path, begun)]).settings
    found = pictures(one)
    assert found["confusion"].caption.startswith("Confusion with 10,000 labels")
    assert found["reliability"].caption.startswith("Reliability with 10,000 labels")
    assert "Where trials have not got so far" in found["accuracy_by_strategy"].caption


def test_bars_of_seconds_start_at_zero_and_say_what_is_missing():
    (axes,) = seconds(COSTS).axes
    assert axes.get_xlim()[0] == 0
    bars = [[bar.get_width() for bar in part] for part in axes.containers]
    assert bars == [[1, 2, 3], [10, 30, 0], [1, 1, 1], [2, 2, 2]]
    starts = [[bar.get_x() for bar in part] for part in axes.containers]
    assert starts == [[0, 0, 0], [1, 2, 3], [11, 32, 3], [12, 33, 4]]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[2] == "ResNet34 + Adam (training not recorded)"


def test_a_figure_has_the_same_bytes_each_time(tmp_path):
    drawn = []
    for i in range(2):
        figure = curves(THREE, width=NARROW)
        svg.save_png(figure, tmp_path / f"{i}.png")
        drawn.append((svg.draw(figure, "a"), (tmp_path / f"{i}.png").read_bytes()))
    assert drawn[0] == drawn[1]
    assert "<dc:date>" not in drawn[0][0]


def test_other_peoples_names_stay_text():
    names = ["$x^2$", "<script>alert(1)</script>", "--> &amp;"]
    shares = {"a": np.full(3, 1 / 3)}
    figure = bought(shares, np.full(3, 1 / 3), names, {"a": Look("a", "#0072b2")})
    page = svg.inline(svg.draw(figure, "a"), "f1")
    root = ElementTree.fromstring(page)
    texts = [element.text for element in root.iter() if element.tag.endswith("}text")]
    assert {"$x^2$", "<script>alert(1…", "--> &amp;"} <= set(texts)
    assert "<script" not in page


def test_a_figure_on_a_page_follows_its_colours_and_keeps_its_place():
    text = svg.draw(curves(THREE, width=NARROW), "a")
    page = svg.inline(text, "f7")
    assert "var(--ink)" in page and "#1b1f24" not in page
    assert "#0072b2" in page  # colours that mean something stay
    root = ElementTree.fromstring(page)
    ids = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    assert ids and all(name.startswith("f7-") for name in ids)
    used = [
        value
        for e in root.iter()
        for key, value in e.attrib.items()
        if key.endswith("href") and value[0] == "#"
    ]
    assert used and {value[1:] for value in used} <= set(ids)
    assert "width" not in root.attrib and "viewBox" in root.attrib
    # No point has moved by more than a twentieth of one.
    (old, *_), (new, *_) = (
        [e.attrib["d"] for e in ElementTree.fromstring(t).iter() if "d" in e.attrib]
        for t in (text, page)
    )
    numbers = [
        np.array(
            [
                float(n)
                for n in path.replace("M", " ")
                .replace("L", " ")
                .replace("z", " ")
                .split()
            ]
        )
        for path in (old, new)
    ]
    np.testing.assert_allclose(*numbers, atol=0.051)


def test_every_picture_can_be_drawn_by_itself():
    found = pictures(THREE)
    assert {"accuracy_by_strategy", "against_random"} <= found.keys()
    assert "calibration_error" not in found  # was not recorded
    (axes,) = found["accuracy_by_strategy"].draw(NARROW).axes
    assert set(_lines(axes)) == {"entropy", "random"}
