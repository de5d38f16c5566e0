"""Each benchmark refuses wrong values, and has one tiny run."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    "script, flag, sentence",
    [
        ("throughput", "--models=resnet19", "'resnet19' is not one of resnet18"),
        ("throughput", "--rounds=0", "--rounds: '0' is not a whole number"),
        ("throughput", "--batch_sizes=8,x", "--batch_sizes: 'x' is not a whole"),
        ("end_to_end", "--model=resnet19", "--model: invalid choice: 'resnet19'"),
        ("end_to_end", "--strategy=margin", "--strategy: invalid choice: 'margin'"),
        ("end_to_end", "--epochs=-1", "--epochs: '-1' is not a whole number"),
        ("scaling", "--devices=1,x", "--devices: 'x' is not a whole number"),
        ("scaling", "--processes=0", "--processes: '0' is not a whole number"),
        ("scaling", "--processes=999", "--processes=999: this machine has"),
        ("layers", "--calls=0", "--calls: '0' is not a whole number"),
        ("query", "--strategies=bald,bat", "--strategies: 'bat' is none of k_center"),
        ("query", "--budget=0", "--budget: '0' is not a whole number"),
        ("overhead", "--rounds=0", "--rounds: '0' is not a whole number"),
        ("sheet", "--minutes=0", "--minutes: '0' is not a whole number"),
        ("scaling", "--phases=test", "'test' is not one of train, score"),
    ],
)
def test_wrong_value_is_refused_in_a_sentence(
    script, flag, sentence, monkeypatch, capsys
):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", flag])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(script).parse()
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def run(script, path, *flags):
    """The report of a small run of a benchmark."""
    command = [sys.executable, BENCHMARKS / f"{script}.py", f"--json={path}", *flags]
    subprocess.run([*command, "--width=8", "--rounds=1"], check=True)
    report = json.loads(path.read_text())
    assert report["commit"] and report["device"] and report["versions"]["jax"]
    return report


@pytest.mark.slow
def test_throughput_of_a_tiny_network(tmp_path):
    pytest.importorskip("torch", reason="the benchmark compares with PyTorch")
    path = tmp_path / "out.json"
    flags = "--models=resnet18", "--batch_sizes=8", "--score_batch_size=8"
    report = run("throughput", path, *flags, "--passes=1", "--no-torch_compile")
    assert [row["phase"] for row in report["rows"]] == ["train", "score"]
    assert report["versions"]["torch"]
    for row in report["rows"]:
        assert all(rate > 0 for rate in row["images_per_second"].values())
    assert path.with_suffix(".png").stat().st_size > 5000


@pytest.mark.slow
def test_whole_experiment_of_a_tiny_network(tmp_path):
    pytest.importorskip("torch", reason="the benchmark compares with PyTorch")
    flags = "--epochs=1", "--cycles=2", "--initial=64", "--budget=64"
    flags += "--pool_subset=128", "--others=aljax_cached,torch_authors"
    # Both sides tell what they ran with, and are refused if these are not the same.
    flags += "--milestone=1", "--detach_epoch=1"
    report = run("end_to_end", tmp_path / "out.json", *flags)
    assert report["settings"]["milestone"] == report["settings"]["detach_epoch"] == 1
    assert [len(a) for a in report["accuracy_of_cycles"]["aljax"]] == [2]
    sides = {"aljax", "aljax_cached", "torch_tuned", "torch_authors"}
    assert report["seconds"].keys() == sides
    assert report["seconds"]["aljax_cached"] < report["seconds"]["aljax"]
    compiling = report["compile_seconds"]
    assert compiling["aljax_cached"] < compiling["aljax"]
    assert all(0 < a[0] < 1 for a in report["accuracy"].values())


@pytest.mark.slow
def test_scaling_of_a_tiny_network(tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two processes want two cores")
    path = tmp_path / "out.json"
    flags = "--devices=2", "--phases=score", "--score_batch_size=8", "--steps=1"
    flags += ("--processes=1,2",)
    report = run("scaling", path, *flags)
    assert report["virtual"]
    found = [(row["scaling"], row["processes"]) for row in report["rows"]]
    assert found == [("strong", 1), ("weak", 1), ("strong", 2), ("weak", 2)]
    assert path.with_suffix(".png").stat().st_size > 5000


@pytest.mark.slow
def test_overhead_of_a_tiny_network(tmp_path):
    flags = "--batch_size=8", "--score_batch_size=8", "--train_images=16"
    report = run("overhead", tmp_path / "out.json", *flags, "--score_images=20")
    saving, scoring = report["rows"]
    assert saving["state_bytes"] > 1e5 and saving["returns_after_seconds"] > 0
    a, b = (saving["seconds_rounds"][side][0] for side in ("with", "without"))
    assert saving["cost_rounds"] == [a - b]
    assert saving["share"] == pytest.approx((a - b) / 60)
    assert scoring["share_rounds"][0] > -1


@pytest.mark.slow
def test_layers_of_a_tiny_network(tmp_path):
    pytest.importorskip("torch", reason="the benchmark compares with PyTorch")
    flags = "--model=resnet18", "--batch_size=2", "--calls=1"
    report = run("layers", tmp_path / "out.json", *flags)
    assert sum(row["count"] for row in report["rows"]) == 20
    assert all(s > 0 for row in report["rows"] for s in row["seconds"].values())


@pytest.mark.slow
def test_choosing_a_few_images(tmp_path):
    pytest.importorskip("torch", reason="the benchmark compares with PyTorch")
    path = tmp_path / "query.json"
    sizes = {"candidates": 600, "labelled": 100, "dimensions": 16, "budget": 20}
    command = [sys.executable, BENCHMARKS / "query.py", f"--json={path}"]
    command += [f"--{name}={size}" for name, size in sizes.items()]
    strategies = "k_center", "badge", "bald", "bait"
    command += ["--rounds=1", f"--strategies={','.join(strategies)}"]
    subprocess.run(command, check=True)
    report = json.loads(path.read_text())
    assert report["processor"] and report["about"]["versions"]["jax"]
    assert {row["strategy"] for row in report["rows"]} == {*strategies}
    for row in report["rows"]:
        assert row["seconds"] > 0 and row["n"] == 1 and row["kind"] == "measured"
        # Those that draw nothing choose the same images, of a few near ties some.
        if row["strategy"] != "badge":
            assert row["same_images"] >= 18, row
