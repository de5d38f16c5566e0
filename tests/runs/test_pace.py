"""Estimates: what earlier runs took on this machine, or that nothing is known."""

from aljax.config import Config
from aljax.grid import expand
from aljax.machine.devices import choose_devices
from aljax.runs.pace import Pace, Paces, kind_of
from aljax.runs.plan import Plan
from aljax.runs.status import estimate

CONFIG = Config(trials=2, cycles=2, initial=10, budget=30, epochs=5)


def plan(workdir, cache) -> Plan:
    return Plan(CONFIG, expand(CONFIG), workdir, None, str(cache))


def test_estimates_from_earlier_runs(tmp_path):
    devices, cache = choose_devices(1), tmp_path / "cache"
    said = estimate(plan(tmp_path / "w", cache), devices)
    assert said.startswith("500 images to train on") and "unknown" in said
    kind = kind_of(CONFIG, devices)
    Paces(str(cache)).remember(kind, Pace(2.0, 10.0, 3 * 2**30))
    said = estimate(plan(tmp_path / "w", cache), devices)
    assert "take at most about 0:17:00, and memory 3.0 GiB, as earlier here; " in said
    assert not (tmp_path / "w").exists()


def test_the_newest_pace_and_the_coldest_compiling_are_kept(tmp_path):
    paces = Paces(str(tmp_path / "cache"))
    assert paces("a") is None
    paces.remember("a", Pace(2.0, 10.0, 5))
    paces.remember("a", Pace(1.0, 0.1, 7))
    assert paces("a") == Pace(1.0, 10.0, 7)
    paces.remember("b", Pace(3.0, 1.0, 1))
    assert Paces(str(tmp_path / "cache"))("a") == Pace(1.0, 10.0, 7)


def test_nothing_is_kept_without_a_folder_or_read_from_a_damaged_file(tmp_path):
    (tmp_path / "file").touch()
    for nowhere in ("", "~nobody-here/x", "/dev/null/x", str(tmp_path / "file")):
        paces = Paces(nowhere)
        paces.remember("a", Pace(2.0, 10.0, 5))
        assert paces("a") is None
    for content in ("garbage", "[]", '{"a": {}}', '{"a": 3}'):
        (tmp_path / "pace.json").write_text(content)
        assert Paces(str(tmp_path))("a") is None


def test_kinds_tell_what_changes_the_pace():
    devices = choose_devices(1)
    kinds = {kind_of(Config(**{field: value}), devices) for field, value in (
        ("seed", 1), ("width", 8), ("model", "resnet34"), ("batch_size", 32),
        ("precision", "bfloat16"), ("optimizer", "adam"), ("trials", 3),
    )}  # fmt: skip
    assert len(kinds) == 6
