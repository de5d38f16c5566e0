"""The imports of aljax point one way: down this list of rooms, and down each room."""

import ast
from functools import cache
from pathlib import Path

import pytest

import aljax

ROOT = Path(aljax.__file__).parent
# The house from the cellar to the roof. What stands on one line does not know each
# other; a line may import from the lines before it.
HOUSE = (
    ("lookup", "limits", "platforms"),
    ("machine", "augment", "data", "metrics", "models", "optimizers", "pool"),
    ("strategies",),
    ("registered",),
    ("config",),
    ("grid", "keys", "recipes"),
    ("learner",),
    ("inference", "training"),
    ("runs",),
    ("report",),
    ("launch",),
    ("__main__",),
)
# The same inside the rooms that are walked through: a file imports from those before.
ROOMS = {
    "machine": (
        "terminal",
        "preemption",
        "allocator",
        "clock",
        "numerics",
        "processes",
        "devices",
    ),
    "strategies": (
        "options",
        "strategy",
        "noise",
        "scores",
        "bald",
        "placing",
        "distances",
        "seeding",
        "clusters",
        "k_center",
        "badge",
        "cluster_margin",
        "typiclust",
        "bait",
    ),
    "runs": (
        "provenance",
        "folder",
        "results",
        "lock",
        "checkpoint",
        "pace",
        "plan",
        "advice",
        "status",
        "console",
        "session",
        "trial",
        "cycle",
        "experiment",
    ),
    "launch": (
        *(
            "task",
            "slurm",
            "submission",
            "side_by_side",
            "flags",
            "reporting",
            "python",
            "command_line",
        ),
    ),
}
LEVELS = {name: level for level, names in enumerate(HOUSE) for name in names}
# The two columns, which meet where runs are made.
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


def names_in(path: Path):
    """What the import statements of a file name, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            if (ROOT.parent / node.module.replace(".", "/")).is_dir():
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield node.module


@cache
def imports() -> dict[tuple[str, ...], set[tuple[str, ...]]]:
    """(room, file) -> the rooms and files of aljax that it imports."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts == ("__init__",):
            continue
        named = (name.split(".") for name in names_in(path))
        found[parts] = {tuple(n[1:]) for n in named if n[0] == "aljax" and n[1:]}
    return found


def rooms_known_to(room: str) -> set[str]:
    return {
        other[0] for parts, known in imports().items() if parts[0] == room
        for other in known if other[0] != room
    }  # fmt: skip


@pytest.mark.parametrize("room", sorted({parts[0] for parts in imports()}))
def test_imports_come_from_lower_rooms(room):
    assert room in LEVELS, f"say in HOUSE where {room} stands"
    for other in rooms_known_to(room):
        assert LEVELS[other] < LEVELS[room], f"{room} imports {other}"


@pytest.mark.parametrize("room", ROOMS)
def test_imports_inside_a_room_point_down(room):
    order = {name: place for place, name in enumerate(ROOMS[room])}
    files = {parts[1] for parts in imports() if parts[0] == room} - {"__init__"}
    assert files == set(order), f"say in ROOMS where each file of {room} stands"
    for file in files:
        for other in imports()[room, file]:
            if other[0] == room:
                assert order[other[1]] < order[file], f"{room}: {file} imports {other}"


@pytest.mark.parametrize("path", sorted(ROOT.rglob("__init__.py")))
def test_every_room_says_what_lives_there(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text and text.splitlines()[0].endswith(".")


def test_the_package_itself_loads_nothing_of_its_own():
    assert set(names_in(ROOT / "__init__.py")) <= {"importlib", "typing"}


def test_acquisition_knows_no_learner():
    for name in ACQUISITION:
        assert not rooms_known_to(name) & {*LEARNER, "config", "runs"}


@pytest.mark.parametrize("room", LEARNER)
def test_learner_knows_no_acquisition(room):
    assert not rooms_known_to(room) & set(ACQUISITION)


def test_report_reads_only_what_runs_left():
    assert rooms_known_to("report") <= {"runs", "metrics", "data", "lookup", "machine"}
    for parts, known in imports().items():
        if parts[0] == "report":
            inside = {other[1] for other in known if other[0] == "runs"}
            assert inside <= {"folder", "results", "lock"}, parts


@pytest.mark.parametrize(
    "words, files",
    [
        (("shard_map", "pmap", "jax.devices", "NamedSharding("), ("devices",)),
        (("process_index", "process_count", "multihost"), ("devices", "processes")),
        (("sched_getaffinity",), ("devices",)),
    ],
    ids=["devices", "processes", "cores"],
)  # fmt: skip
def test_only_the_machine_room_knows(words, files):
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] != "machine" or parts[1] not in files:
            code = ast.unparse(ast.parse(path.read_text()))
            for word in words:
                # Python's door takes and describes the name of an executor.
                assert word not in code or parts == ("launch", "python"), (parts, word)
