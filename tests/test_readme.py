"""What README.md and docs/ say is what there is."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
from absl import flags as absl_flags

import aljax
from aljax import recipes
from aljax.data import DATASETS
from aljax.grid import expand
from aljax.launch import flags, slurm
from aljax.models import MODELS
from aljax.optimizers import OPTIMIZERS
from aljax.report import command as report_command
from aljax.runs.folder import ROW_FIELDS
from aljax.runs.plan import make_plan
from aljax.strategies import STRATEGIES
from tests.support import documents
from tests.support.documents import DOCS, PAGES, README, ROOT, section

BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import curve  # noqa: E402

STUDY = BENCHMARKS / "study" / "resnet18"
MEASURED = (ROOT / "docs" / "measured.md").read_text()
LINKS = [
    (page, link)
    for page in PAGES
    for link in re.findall(r"\]\((?!https?://)([^)]*)\)", page.read_text())
]
PATHS = [
    (page, path)
    for page in PAGES
    for path in re.findall(
        r"(?<![\w/.])((?:aljax|benchmarks|configs|docs|tests)/[\w/.]*\w)",
        page.read_text(),
    )
]
COMMANDS = [
    pytest.param(words, id=f"{page.name}: {' '.join(words)}")
    for page in PAGES
    for words in documents.commands(page)
]


def test_is_short():
    assert 900 <= len(README.split()) <= 1400


@pytest.mark.parametrize(
    "kind, table",
    [
        ("models", MODELS),
        ("optimizers", OPTIMIZERS),
        ("strategies", STRATEGIES),
        ("datasets", DATASETS),
    ],
)
def test_lists_every_name(kind, table):
    (line,) = re.findall(rf"^- {kind}(?: \(.*\))?: (.*)$", README, re.MULTILINE)
    assert documents.names(line.split(", of any")[0]) == list(table)


def test_lists_every_recipe():
    listed = [row[0] for row in documents.table(section(README, "Usage"))]
    assert sorted(listed) == [f"`{name}`" for name in sorted(recipes.shipped())]


def test_names_every_row_field():
    listed = documents.names(section(README, "What is measured"))
    assert sorted(listed) == sorted(ROW_FIELDS)
    explained = [row[0] for row in documents.table(MEASURED.split("## ")[0])]
    assert documents.names(" ".join(explained)) == list(ROW_FIELDS)


def test_maps_every_room():
    drawn = section(README, "File map").split("\naljax/\n")[1].split("\nconfigs/")[0]
    package = Path(aljax.__file__).parent
    modules = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    assert set(re.findall(r"\w+\.py", drawn)) == modules
    rooms = {path.parent.name for path in package.glob("*/**/__init__.py")}
    assert set(re.findall(r"(\w+)/", drawn)) == rooms


def test_links_every_document():
    linked = set(re.findall(r"\]\((docs/\w+\.md)", README))
    assert linked == {f"docs/{page.name}" for page in DOCS}


@pytest.mark.parametrize("page, link", LINKS, ids=lambda x: getattr(x, "name", x))
def test_links_lead_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.is_file()
    assert not anchor or anchor in documents.anchors(target)


@pytest.mark.parametrize("page, path", PATHS, ids=lambda x: getattr(x, "name", x))
def test_paths_exist(page, path):
    assert (ROOT / path).exists()


@pytest.fixture
def documented_files(tmp_path, monkeypatch):
    """A folder with the files of docs/extending.md; what they register is forgotten."""
    for name, text in documents.files((ROOT / "docs/extending.md").read_text()).items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    tables = MODELS, OPTIMIZERS, STRATEGIES, DATASETS
    before = [dict(table) for table in tables]
    yield
    for table, entries in zip(tables, before, strict=True):
        table.clear()
        table.update(entries)


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_are_accepted(words, documented_files, monkeypatch):
    """All but the devices, images and folders that they find is checked."""
    if words[:1] == ["report"]:
        options = absl_flags.FlagValues()
        report_command.define_flags(options)
        assert options(["aljax report", *words[1:]]) == ["aljax report"]
        assert options.workdir
        return
    monkeypatch.setattr(sys, "argv", ["aljax", *words])
    values, config = flags.parse()
    plan = make_plan(config, "runs", values.data_dir, values.shard, values.only)
    assert plan.runs
    given = values.flag_values_dict()
    if values.launcher == "slurm":
        assert slurm.array_script(plan.groups, plan.workdir, given, sys.argv)
    else:
        slurm.refuse_flags(given)


def test_commands_are_found():
    (page,) = (page for page in DOCS if page.name == "slurm.md")
    first, second, *_ = documents.commands(page)
    assert first[-2:] == ["--launcher=slurm", "--dry_run"]  # no comment
    assert second[-1] == "--slurm_concurrency=16"  # of the line below
    assert len(documents.commands(PAGES[0])) >= 6


def test_the_shard_line_counts_rightly():
    """What the comment behind it says: the third eighth of all runs."""
    (line,) = (line for line in README.splitlines() if "--shard" in line)
    assert "--config=grid" in line and "--shard=3/8 " in line and "3rd eighth" in line
    config = recipes.load_config("grid")
    part = make_plan(config, "runs", shard_text="3/8").groups
    assert part == expand(config)[2::8] and 8 * len(part) == len(expand(config))


def test_the_curve_is_computed():
    """The study's numbers are those that `curve.py` gives of the rows."""
    results = json.loads((STUDY / "results.json").read_text())
    for strategy, optimizers in results["strategies"].items():
        for optimizer, models in optimizers.items():
            trials = models["resnet18"]["accuracies"]
            for trial, accuracies in enumerate(trials, 1):
                run = f"resnet18/{optimizer}/{strategy}/trial_{trial}/cycles.jsonl"
                rows = map(json.loads, (STUDY / run).read_text().splitlines())
                found = [100 * row["test_accuracy"] for row in rows]
                assert accuracies == pytest.approx(found)
    table = curve.table(results)
    assert f"<!-- what benchmarks/curve.py prints -->\n{table}\n" in MEASURED


def ratio(rounds: list[float]) -> str:
    return f"**{median(rounds):.2f}×** ({min(rounds):.2f}–{max(rounds):.2f}"


def test_speeds_are_those_that_were_measured():
    told = section(README, "Benchmarks")
    lines, machine, seen = documents.table(told), "", set()
    for about, name, *cells in lines:
        machine = about or machine
        sheet = "xeon_amx" if "Xeon" in machine else "epyc_avx512"
        sheet += {"width 16": "_width16", "ResNet34": "_deep", "ResNet50": "_deep"}.get(
            name, ""
        )
        if sheet == "xeon_amx_deep" and name == "ResNet50":
            sheet = "xeon_amx_resnet50"
        seen.add(sheet)
        report = json.loads((BENCHMARKS / "sheets" / sheet / "sheet.json").read_text())
        assert (name == "width 16") == (report["settings"]["width"] == 16)
        model = name.lower() if name.startswith("ResNet") else "resnet18"
        precision = "bfloat16" if name == "bfloat16" else "float32"
        for phase, cell in zip(("train", "score"), cells, strict=True):
            case = model, precision, phase
            (row,) = (
                row
                for row in report["rows"]
                if (row["model"], row["precision"], row["phase"]) == case
            )
            assert cell == f"{ratio(row['ratio_rounds'])})"
    assert seen == {path.name for path in (BENCHMARKS / "sheets").iterdir()}
    first = re.search(r"\*\*([\d.]+)×", lines[0][2])[1]
    assert f"**{first} times** as fast" in README
    for name in ("end_to_end_narrow", "end_to_end_narrow_xeon"):
        found = json.loads((BENCHMARKS / f"{name}.json").read_text())
        count, commit = len(found["ratio_rounds"]), found["commit"]
        times = f"{ratio(found['ratio_rounds'])}, n = {count}, commit {commit})"
        assert times in " ".join(told.split())


def called(tmp_path, *arguments: str) -> str:
    """What a command of this Python prints, from an empty folder."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_quickstart(tmp_path):
    block = documents.blocks(section(README, "Quickstart"), "bash")[0]
    assert block.splitlines()[-1] == ".venv/bin/aljax"
    told = called(tmp_path, "-m", "aljax")
    assert "Trial 1/1 || Cycle 3/3 || Labelled Data 600: Test Accuracy" in told
    page = tmp_path / told.splitlines()[-1]
    assert "Does it pay" in page.read_text() and page.name == "index.html"
    runs = tmp_path / "runs" / "quickstart" / "resnet18" / "sgd"
    for strategy in ("random", "learning_loss"):
        rows = (runs / strategy / "trial_1" / "cycles.jsonl").read_text()
        assert len(rows.splitlines()) == 3


@pytest.mark.slow
def test_quickstart_from_python(tmp_path):
    pytest.importorskip("pandas", reason="frames are pandas'")
    (block,) = documents.blocks(section(README, "Quickstart"), "python")
    *lines, last = block.strip().splitlines()
    (tmp_path / "notebook.py").write_text("\n".join([*lines, f"print({last})"]))
    told = called(tmp_path, "notebook.py").splitlines()[-5:]
    assert told[0].split() == ["strategy", "margin", "random"]
    assert [line.split()[0] for line in told[2:]] == ["200", "400", "600"]
    assert (tmp_path / "runs/mine/resnet18/sgd/margin/trial_1").is_dir()
