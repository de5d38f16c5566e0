"""Tests for `../aljax/lookup.py`."""

import pytest

from aljax.lookup import lookup

TABLE = {"resnet18": 1, "resnet34": 2, "resnet50": 3}


def test_returns_the_entry():
    assert lookup(TABLE, "--config.model", "resnet34") == 2


def test_names_the_nearest_and_all_choices():
    with pytest.raises(ValueError) as error:
        lookup(TABLE, "--config.model", "resnet81")
    assert str(error.value) == (
        "--config.model: unknown value 'resnet81'; did you mean 'resnet18'? "
        "Choose one of: resnet18, resnet34, resnet50."
    )


def test_suggests_nothing_when_nothing_is_near():
    with pytest.raises(ValueError) as error:
        lookup(TABLE, "--config.model", "vgg")
    assert str(error.value) == (
        "--config.model: unknown value 'vgg'. "
        "Choose one of: resnet18, resnet34, resnet50."
    )
