"""The sheet of a machine: what is kept, what is left, what the page says."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from tests.benchmarks.test_benchmarks import measurement

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import sheet  # noqa: E402
import sheet_machine  # noqa: E402
import sheet_page  # noqa: E402
import sheet_results  # noqa: E402
import sheet_tasks  # noqa: E402

ABOUT = {
    **{"device": "1 x cpu (A <CPU>, 2 cores)", "commit": "abc", "platform": "cpu"},
    **{"versions": {"jax": "1.2"}, "devices": 1},
    **{"flops": 1e9, "copy_bytes_per_second": 2e9},
}
ROUND = {"aljax": 60.0, "torch_tuned": 40.0, "torch_compiled": 30.0}


@pytest.fixture
def flags(tmp_path):
    return Namespace(
        **{"out": tmp_path, "data": None, "models": ["resnet18"], "epochs": None},
        **{"precisions": ["float32"], "width": 64, "batch_size": 128, "rounds": 2},
        **{"score_batch_size": 512, "parts": list(sheet_tasks.PARTS)},
    )


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(sheet_tasks, "has_torch", lambda: True)
    monkeypatch.setattr(sheet_results, "has_torch", lambda: True)
    monkeypatch.setattr(sheet_tasks, "cores", lambda: 2)
    told = {
        "nvidia-smi": "A GPU, 80 GB, 5.1, 700 W, 1980 MHz\nnonsense\n",
        "lscpu": "Model name:  A <CPU>\nFlags:  fma amx_bf16 sse\nCPU(s): 2\n",
    }
    monkeypatch.setattr(sheet_machine, "_said", lambda *line: told[line[0]])


def answer(task):
    """What a process would print for a measurement."""
    part, *rest = task.name.split("/")
    if part == "throughput":
        model, phase, precision, side, number = rest
        rate = ROUND[side] * int(number)
        own = {"model": model, "phase": phase, "precision": precision}
        own["batch_size"] = 128 if phase == "train" else 512
        return measurement(rate, side, **own)
    if part == "bits":
        weights = "x" if rest[1] == "anew" else "y"
        return {"weights": weights, "rows": "z"}
    if part == "scaling":
        counts = {"collectives": 1, "collective_bytes": 2}
        return ABOUT | {"images_per_second": 10.0} | counts
    if part == "calibration":
        return {
            **{"model": "resnet18", "width": 16, "epochs": 200, "labeled": 1000},
            **{"test_accuracy": 0.412, "train_seconds": 9.0, "compile_seconds": 3.0},
            **{"file": None},
        }
    return ABOUT


def carry_out(monkeypatch, flags, minutes=20.0, failing=""):
    """Measures by made-up processes, of a minute each; returns what it asked for."""
    asked, clock = [], [0.0]

    def call(line, environment, seconds):
        (name,) = line
        asked.append(name)
        clock[0] += 60
        if failing and failing in name:
            raise ValueError("Traceback\nModuleNotFoundError: No module named 'orbax'")
        return answer(Namespace(name=name))

    def tasks(*given):
        return [task._replace(line=[task.name]) for task in real(*given)]

    real = sheet_tasks.tasks
    with monkeypatch.context() as patched:
        patched.setattr(sheet_tasks, "tasks", tasks)
        patched.setattr(sheet, "call", call)
        patched.setattr(sheet.time, "monotonic", lambda: clock[0])
        made = sheet.Sheet(flags)
        sheet.carry_out(made, minutes)
    made.write()
    return asked, json.loads((flags.out / "sheet.json").read_text())


def test_all_is_measured_once_and_the_page_says_it(flags, monkeypatch):
    asked, report = carry_out(monkeypatch, flags, 500.0)
    assert len(asked) == len(set(asked)) == len(report["measured"]) == 27
    assert report["missing"] == []
    train, score = report["rows"]
    assert (train["phase"], score["phase"]) == ("train", "score")
    assert train["ratio_rounds"] == [1.5, 1.5] and not train["torch_compile"]
    assert train["images_per_second"] == {"aljax": 90, "torch_tuned": 60}
    assert report["bits"] == {"float32": {"resumed": True, "anew": False}}
    assert [row["overhead_rounds"] for row in report["scaling"]] == [[0, 0], [0, 0]]
    page = (flags.out / "index.html").read_text()
    assert "<h1>1 × A GPU" not in page and "<h1>A &lt;CPU&gt;, 2 cores" in page
    assert "ResNet18 1.50× the speed of the fastest PyTorch" in page
    assert "41.2% right on the test set" in page and "since no --data" in page
    assert "ends with other bits" in page and "same weights and rows" in page
    assert "Not measured" not in page and "http" not in page.replace("w3.org", "")
    asked, _ = carry_out(monkeypatch, flags)
    assert asked == []


def test_a_gpu_shows_what_its_steps_are_made_of(flags, monkeypatch):
    monkeypatch.setitem(ABOUT, "platform", "gpu")
    _, report = carry_out(monkeypatch, flags, 500.0)
    train, score = report["counts"]
    assert train["program"] == "resnet18/float32/train/1" and score["kernels"] == 73
    assert train["seconds"] == pytest.approx(128 / 90)
    moved = train["gigabytes"] * 1e9 * 90 / 128
    assert train["bytes_per_second"] == pytest.approx(moved)
    assert train["copy_share"] == pytest.approx(moved / ABOUT["copy_bytes_per_second"])
    page = (flags.out / "index.html").read_text()
    assert "<td>resnet18, float32, train</td>" in page


def test_what_there_is_no_time_for_is_said_and_taken_up(flags, monkeypatch):
    first, report = carry_out(monkeypatch, flags, 6.0)
    assert 0 < len(first) <= 7
    whats = [(one["what"], one["why"]) for one in report["missing"]]
    sides = "(aljax, PyTorch, compiled PyTorch)"
    assert (f"ResNet18, scoring, float32 {sides}", "no time was left") in whats
    assert whats[-1][0].endswith("measurements of further rounds")
    assert "Not measured" in (flags.out / "index.html").read_text()
    second, report = carry_out(monkeypatch, flags, 500.0)
    assert not set(first) & set(second) and len(first) + len(second) == 27
    assert len(report["calls"]) == 2 and report["missing"] == []


def test_what_fails_is_said_with_its_reason_and_tried_again(flags, monkeypatch):
    _, report = carry_out(monkeypatch, flags, 500.0, failing="calibration")
    (one,) = report["missing"]
    assert one["what"].startswith("one cycle of the calibration recipe (width ")
    assert one["why"] == "ModuleNotFoundError: No module named 'orbax'"
    asked, report = carry_out(monkeypatch, flags, 500.0)
    assert asked == ["calibration"] and report["missing"] == []


def test_without_pytorch_aljax_alone_is_measured(flags, monkeypatch):
    for module in (sheet_tasks, sheet_results):
        monkeypatch.setattr(module, "has_torch", lambda: False)
    asked, report = carry_out(monkeypatch, flags, 500.0)
    assert not any("torch" in name for name in asked)
    assert report["missing"][0]["what"] == "PyTorch"
    assert "ratio_rounds" not in report["rows"][0]
    assert "only aljax was measured" in (flags.out / "index.html").read_text()


def test_a_round_that_was_cut_short_waits(flags, monkeypatch):
    _, report = carry_out(monkeypatch, flags, 500.0)
    found = report["measured"]
    del found["throughput/resnet18/train/float32/torch_tuned/2"]
    train, score = sheet_results.results(flags, found)["rows"]
    assert (train["rounds"], score["rounds"]) == (1, 2)


@pytest.mark.parametrize(
    "field, value, sentence",
    [
        ("width", 32, "begun with width=64, not 32"),
        ("models", ["resnet34"], r"begun with models=\['resnet18'\]"),
    ],
)
def test_another_sheet_is_refused(field, value, sentence, flags, monkeypatch):
    carry_out(monkeypatch, flags, 3.0)
    setattr(flags, field, value)
    with pytest.raises(ValueError, match=sentence):
        sheet.Sheet(flags)


def test_a_damaged_sheet_is_refused(flags):
    (flags.out / "sheet.json").write_text('{"measured": ')
    with pytest.raises(ValueError, match="sheet.json is damaged; delete it"):
        sheet.Sheet(flags)


def test_another_commit_is_refused(flags, monkeypatch):
    carry_out(monkeypatch, flags, 3.0)
    monkeypatch.setitem(ABOUT, "commit", "def")
    with pytest.raises(ValueError, match="of commit abc, but this is def"):
        carry_out(monkeypatch, flags, 500.0)


def test_a_slow_machine_calibrates_a_narrower_network(flags):
    name = "throughput/resnet18/train/float32/aljax/1"
    widths = [
        sheet_tasks.calibration(flags, {name: {"images_per_second": rate}})[0]
        for rate in (20_000, 600, 300, 50, 1)
    ]
    assert widths == [64, 64, 32, 8, 8]


def test_a_gpu_has_the_deep_networks_in_bfloat16_first(flags):
    flags.models = ["resnet18", "resnet34", "resnet50"]
    flags.precisions = [*sheet_tasks.PRECISIONS]
    found = {sheet_tasks.FIRST: ABOUT | {"platform": "gpu"}}
    tasks = sheet_tasks.tasks(flags, found, flags.out / "cache")
    units = dict.fromkeys(t.unit for t in tasks if t.unit.endswith(" 1"))
    assert [unit for unit in units if " train " in unit] == [
        *("resnet18 train float32 1", "resnet18 train bfloat16 1"),
        *("resnet50 train bfloat16 1", "resnet34 train bfloat16 1"),
        *("resnet50 train float32 1", "resnet34 train float32 1"),
    ]


def test_machine(flags):
    found = sheet_machine.machine()
    assert found["features"] == ["fma", "amx_bf16"]
    assert [gpu["name"] for gpu in found["gpus"]] == ["A GPU"]
    report = {"machine": found, "device": "1 x A GPU", "platform": "gpu"}
    assert sheet_page.name_of(report) == "1 × A GPU"


def test_little_need_be_installed():
    """What a bare machine lacks is not loaded by what trains, scores and calibrates."""
    lacking = ["PIL", "ml_collections", "pandas", "matplotlib", "jinja2"]
    lacking += ["tensorflow_datasets", "sklearn", "playwright"]
    block = "; ".join(f"sys.modules[{name!r}] = None" for name in lacking)
    wanted = "sheet, sheet_side, aljax.runs.experiment, aljax.recipes"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {block}; import {wanted}"],
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_ceilings_of_this_machine(tmp_path):
    command = [sys.executable, BENCHMARKS / "sheet.py", f"--out={tmp_path}"]
    flags = ["--parts=ceilings", "--precisions=float32", "--minutes=2"]
    subprocess.run([*command, *flags], check=True)
    report = json.loads((tmp_path / "sheet.json").read_text())
    assert report["ceilings"]["float32"]["flops"] > 1e8
    assert report["missing"] == [] and report["commit"]
    assert sorted(path.name for path in Path(tmp_path).iterdir()) == [
        *("index.html", "sheet.json")
    ]
