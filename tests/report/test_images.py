"""Images of the pool: those of the runs, from this machine, or none."""

import dataclasses

import numpy as np
import pytest

from aljax import data
from aljax.data.splits import Splits
from aljax.report.images import stored_images
from aljax.report.runs import read
from tests.support import made_up_runs as made


@pytest.fixture
def record(tmp_path):
    """(configuration, fingerprint) -> a run that was trained on such images."""

    def write(config, fingerprint):
        grid = dataclasses.replace(
            made.LARGE,
            trials=1,
            config={f"data.{name}": value for name, value in config.items()},
            about={"data_fingerprint": fingerprint},
        )
        return read([made.write(tmp_path / "runs", grid)]).runs[0]

    return write


def test_embedded_images(record):
    dataset = data.load(data.Data("fashion_mnist_mini"))
    found = stored_images()(record({"name": "fashion_mnist_mini"}, dataset.fingerprint))
    np.testing.assert_array_equal(found, dataset.train_images)


def test_other_images_are_not_shown(record):
    assert stored_images()(record({"name": "fashion_mnist_mini"}, "c0ffee")) is None


def test_images_are_read_once(record, monkeypatch):
    asked = []
    load = data.load
    monkeypatch.setattr(data, "load", lambda *what: asked.append(1) or load(*what))
    images, run = stored_images(), record({"name": "fashion_mnist_mini"}, None)
    assert images(run) is images(run) is not None
    assert asked == [1]


@pytest.mark.parametrize("channels", [3, 4])
def test_images_of_ones_own_dataset(record, monkeypatch, tmp_path, channels):
    images, classes = np.zeros((8, 32, 32, channels), np.uint8), np.arange(8) % 2

    def load(options):
        return Splits(*(images, classes) * 2, ("one", "other"))

    source = data.Source(load, lambda options: 8, takes=frozenset({"path"}))
    monkeypatch.setitem(data.DATASETS, "mine", source)
    here, gone = (
        stored_images()(record({"name": "mine", "path": path}, None))
        for path in (str(tmp_path), "not/here")
    )
    assert gone is None
    assert (here is None) if channels == 4 else (here.shape == images.shape)


@pytest.mark.parametrize(
    "config",
    [
        {"name": "image_folder", "path": "not/here.zip"},
        {"name": "image_folder", "path": None},
        {"name": "somebody's own"},
    ],
)
def test_images_that_are_not_here(record, config):
    assert stored_images()(record(config, None)) is None


def test_damaged_images_are_not_shown(record, tmp_path):
    (tmp_path / "images.zip").write_text("no archive")
    config = {"name": "image_folder", "path": str(tmp_path / "images.zip")}
    assert stored_images()(record(config, None)) is None


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist"])
def test_nothing_is_fetched(record, name, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "load", None)
    assert stored_images(str(tmp_path / "data"))(record({"name": name}, None)) is None
    assert not (tmp_path / "data").exists()
