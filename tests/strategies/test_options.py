"""Options of strategies: in the folder of a run, in its documentation, in a grid."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from aljax.config import Config, flatten, replace
from aljax.grid import SWEEPABLE, differences, members, validate_grid
from aljax.strategies import STRATEGIES, Options

TEXT = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text()
FIELDS = [field.name for field in dataclasses.fields(Options)]


def written(config: Config) -> dict:
    """As the configuration of a run is read again."""
    return json.loads(json.dumps(flatten(config)))


def without_options(config: Config) -> dict:
    """What was written before there were options."""
    return {k: v for k, v in written(config).items() if not k.startswith("query.")}


def test_a_run_without_options_goes_on_with_their_defaults():
    old = without_options(Config())
    assert differences(old, flatten(Config())) == []


def test_other_options_are_another_run():
    other = replace(Config(), "query.clusters", 7)
    for old in (without_options(Config()), written(Config())):
        found = differences(old, flatten(other))
        assert found == ["query.clusters (500 there, 7 here)"]
    assert differences(written(other), flatten(other)) == []


def test_options_make_a_grid():
    noises = ("none", "power")
    config = Config(sweep={"query.noise": noises, "strategy": ("entropy", "random")})
    validate_grid(config)
    found = {folder: member.query.noise for folder, member in members(config)}
    assert found == {
        f"query.noise={noise}/resnet18/sgd/{strategy}": noise
        for noise in noises
        for strategy in ("entropy", "random")
    }
    assert {f"query.{field}" for field in FIELDS} <= set(SWEEPABLE)


def cells(first: str) -> list[list[str]]:
    """The rows of the table whose first head this is."""
    table = TEXT.split(f"| {first} |")[1].split("\n\n")[0]
    return [line.split(" | ") for line in table.split("\n")[2:]]


def test_the_documentation_has_every_strategy_and_option():
    assert [row[0].strip("|` ") for row in cells("name")] == list(STRATEGIES)
    options = {row[0].strip("|` "): row[1].strip("` ") for row in cells("option")}
    assert options == {f: str(getattr(Options(), f)) for f in FIELDS}


@pytest.mark.parametrize("row", cells("name"), ids=lambda row: row[0].strip("|` "))
def test_options_of_a_strategy_are_those_it_reads(row):
    """Named beside it, and in its file; noise is read by every score."""
    name, named = row[0].strip("|` "), set(re.findall(r"`(\w+)`", row[2]))
    noisy = {"noise", "beta"} if STRATEGIES[name].score else set()
    assert named >= noisy and named <= set(FIELDS)
    path = Path(__file__).parents[2] / "aljax" / "strategies" / f"{name}.py"
    if path.exists() and name != "bald":  # whose options the loop reads
        source = path.read_text()
        read = {f for f in FIELDS if f"options.{f}" in source}
        assert named - noisy == read
