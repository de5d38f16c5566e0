"""What a person reads: at 80 columns all of it, at 60 what matters most."""

import io
import re

import pytest
from rich.console import Console as RichConsole

from aljax.config import Config
from aljax.grid import expand
from aljax.runs import console as module
from aljax.runs.console import Console
from aljax.runs.folder import ROW_FIELDS
from aljax.runs.pace import Pace

ROW = dict.fromkeys(ROW_FIELDS, 0.123456) | {
    "trial": 4,
    "cycle": 10,
    "labeled": 10000,
    "test_accuracy": 0.8967,
    "train_seconds": 12345.6,
    "train_images_per_second": 12345.6,
    "evaluated_on": "test",
    "leaky": False,
}
WHERE = "cycle 10/10 · epoch 200/200 · resnet152/rmsprop/least_confidence/trial_5"


def printed(width, act, total=1000, **options):
    """What is printed on a terminal of a width, by line, without its colours."""
    file = io.StringIO()
    out = RichConsole(file=file, width=width, force_terminal=True, highlight=False)
    with Console(total, out=out, **options) as console:
        act(console)
        if console._bar:
            console._bar.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def train(console):
    console.trained(370, 10.0, WHERE, "loss 1.234 · accuracy 43.2%")


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_progress_shows_percent_and_time_left(width):
    line = printed(width, train)[-1]
    assert len(line) <= width
    assert re.match(r" *37% 0:00:17 left .*cycle 10/10", line), line
    assert width == 60 or "epoch 200/200" in line
    if width == 200:
        assert "trial_5 · loss 1.234 · accuracy 43.2% · 37 images/s" in line


def test_pace_is_of_the_member_under_way_and_failed_runs_count_as_gone():
    slow, fast = (g[0] for g in expand(Config(trials=1, sweep={"seed": (0, 1)})))

    def act(console):
        console.begin(slow)
        console.trained(100, 100.0, WHERE, "")
        console.skip(400)  # the rest of it, which failed
        console.begin(fast)
        console.trained(100, 1.0, WHERE, "")
        assert console.counted == 600

    line = printed(200, act)[-1]
    assert re.match(r" *60% 0:00:04 left", line) and "100 images/s" in line


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_table_shows_whole_numbers(width):
    lines = printed(width, lambda console: console.table("run", [ROW]))
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "…" not in text
    for shown in ("cycle", "labels", "accuracy", "89.67%", "F1", "0.1235", "test loss"):
        assert shown in text
    assert width < 80 or "12345.6" in text
    assert width < 100 or "images/s" in text
    if width == 200:
        for name in module._COLUMNS:
            assert name in text


def test_the_line_of_a_cycle_names_the_member_of_a_grid():
    ((run,),) = expand(Config(trials=1, strategy="entropy"))
    alone = printed(200, lambda console: console.cycle(run, ROW))
    line = "Trial 4/1 || Cycle 10/10 || Labelled Data 10000: Test Accuracy 89.67%"
    assert line in alone
    several = printed(200, lambda console: console.cycle(run, ROW), several=True)
    assert f"{line} || resnet18/sgd/entropy" in several


def test_the_line_of_a_cycle_says_that_it_is_no_test():
    ((run,),) = expand(Config(trials=1))
    row = ROW | {"evaluated_on": "validation"}
    for act in (lambda c: c.cycle(run, row), lambda c: c.already_done(run, [row])):
        text = " ".join(printed(200, act))
        assert "Validation Accuracy 89.67%" in text and "Test" not in text


def test_compiling_says_that_it_is_once_and_how_long():
    first = printed(200, lambda console: console.compiling(Config(), None))
    assert "compiling resnet18, width 64, sgd, once (a minute or more" in first[-1]
    pace = Pace(0.1, 31.4, 1)
    again = printed(200, lambda console: console.compiling(Config(), pace))
    assert "once (31 s earlier, less if it was kept)" in again[-1]
