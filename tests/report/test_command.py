"""`aljax report`: a page as the last line, or one sentence."""

import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from aljax.report import write_report
from aljax.report.command import main
from tests.support import made_up_runs as made

SMALL = made.Grid(made.curves({"entropy": 0.02}, cycles=3), trials=3, cycles=3)


def test_page_is_the_last_line(tmp_path, capsys):
    workdir = made.write(tmp_path / "runs", SMALL)
    assert main([f"--workdir={workdir}"]) == 0
    out = capsys.readouterr().out.splitlines()
    page = workdir / "report/index.html"
    assert out[-1] == str(page) and page.is_file()
    text = page.read_text()
    assert "entropy is 1.5 points above random" in text
    assert f"aljax report --workdir={workdir}" in text
    tables = {path.stem for path in (workdir / "report/tables").iterdir()}
    assert {"accuracy", "against_random", "cycles", "runs"} <= tables
    assert len(pd.read_csv(workdir / "report/tables/cycles.csv")) == 18
    # Made again, beside the first report, it reads the same runs.
    assert main([f"--workdir={workdir}"]) == 0


def test_runs_are_left_alone(tmp_path):
    workdir = made.write(tmp_path / "runs", SMALL)
    files = [path for path in workdir.rglob("*") if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    write_report([workdir])
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    assert after == before
    assert {p.name for p in workdir.iterdir()} == {"config.json", "resnet18", "report"}


@pytest.mark.slow
def test_largest_study_takes_less_than_a_minute(tmp_path):
    """Twelve pairs, five strategies, five trials, and rows as long as real ones."""
    workdir = made.write(tmp_path / "runs", made.whole_study(listed=1000))
    start = time.process_time()
    page = write_report([workdir])
    assert time.process_time() - start < 60
    assert page.stat().st_size < 5e6


def test_several_workdirs_and_a_folder_for_the_report(tmp_path, capsys):
    alone = made.Grid(SMALL.accuracies, strategies=("random",), trials=3, cycles=3)
    other = made.Grid(SMALL.accuracies, strategies=("entropy",), trials=3, cycles=3)
    folders = [made.write(tmp_path / n, g) for n, g in (("a", alone), ("b", other))]
    flags = [f"--workdir={folder}" for folder in folders]
    assert main([*flags, f"--out={tmp_path / 'out'}"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out/index.html")
    assert (
        "entropy is 1.5 points above random"
        in (tmp_path / "out/index.html").read_text()
    )
    assert not (folders[0] / "report").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "name at least one folder of runs: --workdir=FOLDER."),
        (["--workdir=none"], "--workdir=none is not a folder"),
        (["--workdir=."], "has no run with a finished cycle"),
        (["runs"], "'runs' is not a flag; all flags begin with --."),
        (["--wokdir=x"], "--wokdir: there is no such flag; its flags are --workdir"),
        (["--workdir=runs", "--reference=none.csv"], "--reference=none.csv cannot be"),
    ],
)
def test_bad_usage_is_one_sentence(tmp_path, monkeypatch, capsys, flags, said):
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    found = capsys.readouterr()
    assert said in found.err and found.out == ""
    assert len(found.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path, capsys):
    workdir = made.write(tmp_path / "runs", SMALL)
    (tmp_path / "file").write_text("")
    assert main([f"--workdir={workdir}", f"--out={tmp_path / 'file/out'}"]) == 1
    assert "Name another folder with --out" in capsys.readouterr().err


def test_help(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("aljax report --workdir=W") and "--reference" in out


def test_images_are_asked_for_once_per_setting(tmp_path):
    asked = []

    def images(record):
        asked.append(record.folder)
        return np.zeros((made.POOL, 4, 4, 3), np.uint8)

    write_report([made.write(tmp_path, SMALL)], images=images)
    assert len(asked) == 1


def test_reading_the_package_stays_light():
    heavy = ("pandas", "matplotlib", "jinja2", "scipy.stats")
    program = (
        "import sys, aljax.report, aljax.report.command\n"
        f"assert not set({heavy}) & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
