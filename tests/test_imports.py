"""The imports of aljax point one way; nothing is imported from above."""

import ast
from functools import cache
from pathlib import Path

import pytest

import aljax

ROOT = Path(aljax.__file__).parent
# A module may import from the lines above its own, never from its own or below.
LAYERS = (
    ("console", "environment", "lock", "lookup", "task", "timing"),
    *[("augment", "data", "metrics", "models", "optimizers", "pool", "strategies")],
    ("config",),
    ("grid", "keys", "parallel", "processes"),
    ("learner",),
    ("inference", "training"),
    ("checkpoint", "results"),
    ("report", "session", "status"),
    ("cluster", "cycle", "side_by_side"),
    ("arguments", "experiment"),
    ("command_line",),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
# The two columns, which meet where cycles are made.
LEARNER = (
    "augment",
    "data",
    "models",
    "optimizers",
    "learner",
    "inference",
    "training",
)
ACQUISITION = ("strategies", "pool", "metrics")


def module_of(path: Path) -> str:
    """The file or folder right under aljax/ that a source file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def names_in(tree: ast.AST):
    """What the import statements of a file name, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            if node.module == "aljax":
                yield from (f"aljax.{alias.name}" for alias in node.names)
            else:
                yield node.module


@cache
def imports() -> dict[str, set[str]]:
    """module -> modules of aljax that it imports, itself left out."""
    found: dict[str, set[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        if path == ROOT / "__init__.py":
            continue
        module = module_of(path)
        named = set(names_in(ast.parse(path.read_text())))
        inside = {n.split(".")[1] for n in named if n.startswith("aljax.")}
        found.setdefault(module, set()).update(inside - {module})
    return found


@pytest.mark.parametrize("module", imports())
def test_imports_come_from_lower_layers(module):
    assert module in LEVELS, f"say in LAYERS where {module} belongs"
    for other in imports()[module]:
        assert LEVELS[other] < LEVELS[module], f"{module} imports {other}"


def test_the_package_itself_imports_nothing():
    assert list(names_in(ast.parse((ROOT / "__init__.py").read_text()))) == []


def test_acquisition_knows_no_learner():
    assert imports()["strategies"] == set()
    assert imports()["pool"] == set()
    assert imports()["metrics"] == set()


@pytest.mark.parametrize("module", LEARNER)
def test_learner_knows_no_acquisition(module):
    assert not imports()[module] & set(ACQUISITION)


def test_report_reads_only_what_runs_left():
    assert imports().get("report", set()) <= {"results", "metrics"}


def test_only_one_file_knows_devices():
    for path in ROOT.rglob("*.py"):
        source = path.read_text()
        for word in ("shard_map", "pmap", "jax.devices", "NamedSharding("):
            assert word not in source or module_of(path) in ("parallel", "results")


def test_only_two_files_know_processes():
    for path in ROOT.rglob("*.py"):
        for word in ("process_index", "process_count", "multihost_utils"):
            known = word in path.read_text()
            assert not known or module_of(path) in ("parallel", "processes")
