"""Sheets show the images that were bought, and say of each what is known."""

import io

import numpy as np
import pytest
from PIL import Image

from aljax.report import sheets, style
from tests.support.records import record, setting

CLASSES = ("cat", "dog")


def _pool(channels=3, side=8, count=6):
    """Image i is all of brightness 40·i."""
    shape = (count, side, side, channels)
    return np.broadcast_to(40 * np.arange(count)[:, None, None, None], shape).astype(
        np.uint8
    )


def _row(queried, labels=None, predictions=None, scores=None):
    def array(values, kind):
        return None if values is None else np.array(values, kind)

    return {
        "queried": array(queried, np.int32),
        "queried_labels": array(labels, np.int32),
        "queried_predictions": array(predictions, np.int32),
        "queried_scores": array(scores, np.float64),
    }


def _run(second, strategy="entropy", **config):
    return record([0.4, 0.5], strategy=strategy, rows=[_row([0]), second], **config)


def test_most_wanted_first_with_what_is_known():
    second = _row([1, 2, 3], [0, 1, 1], [0, 0, 1], [0.25, 0.75, 0.5])
    (sheet,) = sheets.make_sheets([_run(second)], _pool(), CLASSES)
    assert (sheet.cycle, sheet.labels) == (2, (100, 200))
    assert [tile.index for tile in sheet.tiles] == [2, 3, 1]
    assert [tile.right for tile in sheet.tiles] == [False, True, True]
    assert sheets.caption(sheet.tiles[0]) == ["dog", "→ cat", "0.75"]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_sprite_has_the_images_from_left_to_right(channels):
    second = _row([5, 1, 3])
    (sheet,) = sheets.make_sheets([_run(second)], _pool(channels), CLASSES)
    sprite = np.asarray(Image.open(io.BytesIO(sheet.sprite)))
    assert sprite.shape[:2] == (8, 24) and sheet.size == (8, 8)
    assert sprite.ndim == 2 if channels == 1 else sprite.shape[2] == 3
    middles = sprite.reshape(8, 24, -1)[4, [4, 12, 20], 0]
    np.testing.assert_array_equal(middles, [200, 40, 120])
    assert sheet.source.startswith("data:image/png;base64,")


def test_what_was_not_recorded_is_left_out():
    (sheet,) = sheets.make_sheets([_run(_row([4, 2]))], _pool(), CLASSES)
    assert [tile.index for tile in sheet.tiles] == [4, 2]  # as they were bought
    for tile in sheet.tiles:
        assert tile.right is None and sheets.caption(tile) == []


def test_classes_without_names_have_numbers():
    second = _row([1], [1], [0], [2.0])
    (sheet,) = sheets.make_sheets([_run(second)], _pool(), None)
    assert sheets.caption(sheet.tiles[0]) == ["class 1", "→ class 0", "2"]


def test_a_random_first_cycle_is_no_choice_of_the_strategy():
    chosen = sheets.make_sheets(
        [_run(_row([1]), initial_query="strategy")], _pool(), None
    )
    assert [(sheet.cycle, sheet.labels) for sheet in chosen] == [
        (1, (0, 100)),
        (2, (100, 200)),
    ]
    assert sheets.make_sheets([record([0.4], rows=[_row([0])])], _pool(), None) == ()


def test_a_pool_of_other_images_shows_none():
    assert sheets.make_sheets([_run(_row([6]))], _pool(count=6), None) == ()


def test_large_images_become_small():
    pool = np.zeros((3, 100, 200, 3), np.uint8)
    (sheet,) = sheets.make_sheets([_run(_row([0, 1]))], pool, None)
    assert sheet.size == (64, 32) and sheet.kind == "jpeg"
    assert sheets.enlarged(sheet) == (64, 32)


def test_many_sheets_have_fewer_images():
    pool = np.zeros((1000, 32, 32, 3), np.uint8)
    rows = [_row([0]), *[_row(range(100))] * 40]
    few = sheets.make_sheets([record([0.5] * 5, rows=rows[:5])], pool, None)
    many = sheets.make_sheets([record([0.5] * 41, rows=rows)], pool, None)
    assert {len(sheet.tiles) for sheet in few} == {20}
    assert {len(sheet.tiles) for sheet in many} == {10}


def test_the_file_frames_right_and_wrong_apart(tmp_path):
    second = _row([1, 2], [0, 1], [0, 0], [0.5, 0.25])
    (sheet,) = sheets.make_sheets([_run(second)], _pool(), CLASSES)
    sheets.save_sheet(sheet, tmp_path / "sheet.png")
    page = np.asarray(Image.open(tmp_path / "sheet.png"))
    found = {f"#{bytes(pixel).hex()}" for pixel in page[:80].reshape(-1, 3)}
    assert {style.GOOD, style.BAD} <= found
    np.testing.assert_array_equal(page[30, 20], [40] * 3)  # the image itself, enlarged


def test_one_trial_of_every_strategy_is_shown_random_last():
    some = setting(
        record([0.5], strategy="random", trial=1),
        *(record([0.5], strategy=s, trial=2) for s in ("random", "entropy", "margin")),
        record([0.5], strategy="entropy", trial=3),
    )
    chosen = sheets.choose_runs(some, ("resnet18", "sgd"))
    assert [(run.strategy, run.trial) for run in chosen] == [
        ("entropy", 2),
        ("margin", 2),
        ("random", 2),
    ]
    assert sheets.choose_runs(some, ("resnet50", "sgd")) == ()
