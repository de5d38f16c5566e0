"""The committed study is told by its committed report: rows in, the same tables out."""

import contextlib
from pathlib import Path

import pytest

from aljax.report import write_report

STUDY = Path(__file__).parents[2] / "benchmarks" / "cifar10_cpu"


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    # As from a fresh clone: tables name the folder that the command named.
    with contextlib.chdir(STUDY.parents[1]):
        write_report([STUDY.relative_to(STUDY.parents[1])], out=out)
    return out


def test_tables_are_rebuilt_byte_for_byte(again):
    committed = sorted((STUDY / "report" / "tables").glob("*.csv"))
    assert len(committed) > 5
    assert [p.name for p in committed] == sorted(p.name for p in again.glob("*/*.csv"))
    for path in committed:
        assert path.read_bytes() == (again / "tables" / path.name).read_bytes()


def test_every_figure_is_rebuilt(again):
    for kind in ("png", "svg"):
        committed = {path.name for path in STUDY.glob(f"report/figures/*.{kind}")}
        assert committed == {path.name for path in again.glob(f"figures/*.{kind}")}
        assert "accuracy_by_strategy.png" in committed or kind == "svg"
