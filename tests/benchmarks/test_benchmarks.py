"""The benchmarks' own arithmetic."""

import json
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from aljax.launch import side_by_side
from aljax.learner import init
from aljax.models import MODELS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import aljax_side  # noqa: E402
import end_to_end  # noqa: E402
import layers  # noqa: E402
import process  # noqa: E402
import scaling  # noqa: E402
import throughput  # noqa: E402

CASE = ("resnet18", "train", 128)


def measurement(rate, side="torch_tuned", **others):
    return {
        **{"side": side, "model": "resnet18", "width": 64, "phase": "train"},
        **{"precision": "float32", "threads": 2, "images_per_second": rate},
        **{"platform": "cpu", "batch_size": 128, "optimizer": "sgd"},
        **{"peak_bytes": 10 * rate, "settings": {"images": 128}},
        **{"multiplications": 50, "compile_seconds": rate, "ready_seconds": rate},
        **others,
    }


def one_round(ours, tuned, authors):
    rates = zip(throughput.SIDES, (ours, tuned, authors), strict=True)
    return {side: measurement(rate) for side, rate in rates}


def test_ratios_are_of_the_same_round():
    rounds = [one_round(60, 30, 20), one_round(20, 20, 10), one_round(30, 10, 30)]
    row = throughput.row(CASE, rounds, ceiling=1e4)
    assert row["ratio_rounds"] == [2, 1, 3]
    assert row["ratio_over_tuned"] == 2
    assert row["ratio_over_authors"] == 2
    assert row["images_per_second"] == {
        **{"aljax": 30, "torch_tuned": 20, "torch_authors": 20}
    }
    assert row["peak_bytes"]["torch_tuned"] == 200
    assert row["compile_seconds"] == 60 and row["ready_seconds"] == 20
    assert row["ceiling_share"] == pytest.approx(30 * 2 * 3 * 50 / 1e4)


def test_compiled_pytorch_is_the_tuned_one_where_it_is_faster():
    rounds = [one_round(60, 30, 20) | {"torch_compiled": measurement(40)}]
    row = throughput.row(CASE, rounds, ceiling=1.0)
    assert row["ratio_over_tuned"] == 1.5 and row["torch_compile"]
    assert row["images_per_second"]["torch_tuned"] == 40


@pytest.mark.parametrize(
    "other",
    [
        {"width": 32},
        {"threads": 1},
        {"platform": "gpu"},
        {"batch_size": 64},
        {"optimizer": "adam"},
        {"settings": {"images": 64}},
    ],
)
def test_sides_with_other_settings_are_not_compared(other):
    sides = one_round(60, 30, 20)
    throughput.check_same(sides)
    sides["torch_tuned"] |= other
    with pytest.raises(ValueError, match="aljax ran with .*not comparable"):
        throughput.check_same(sides)


def test_authors_score_in_batches_of_their_own():
    sides = one_round(60, 30, 20)
    sides = {side: found | {"phase": "score"} for side, found in sides.items()}
    sides["torch_authors"] |= {"batch_size": 64}
    throughput.check_same(sides)
    sides["torch_tuned"] |= {"batch_size": 64}
    with pytest.raises(ValueError, match="batch_size"):
        throughput.check_same(sides)


def test_table_and_chart_of_fake_measurements(tmp_path):
    rounds = [one_round(60, 30, 20), one_round(90, 30, 20)]
    rows = [throughput.row(CASE, rounds, ceiling=1e4)]
    report = {"device": "1 x cpu", "commit": "abc", "rounds": 2, "rows": rows}
    assert "2.50 [2.00–3.00]" in throughput.table(report)
    throughput.draw(report, tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 5000


def test_ratio_of_whole_experiments_is_of_the_same_round():
    def side(seconds):
        return {
            **{"seconds": seconds, "accuracy": [0.1, 0.5], "peak_bytes": 7},
            "compile_seconds": seconds / 2,
            **{"versions": {}, "about": {"device": "1 x cpu", "versions": {}}},
        }

    sides = "aljax", "aljax_cached", "torch_tuned", "torch_authors"
    rounds = [
        {name: side(s) for name, s in zip(sides, seconds, strict=True)}
        for seconds in ((10, 5, 20, 30), (10, 10, 40, 50), (20, 5, 20, 40))
    ]
    flags = Namespace(**dict.fromkeys(end_to_end.SHARED))
    found = end_to_end.report(flags, rounds)
    assert found["ratio_rounds"] == [2, 4, 1] and found["ratio_over_tuned"] == 2
    assert found["ratio_rounds_cached"] == [4, 4, 4]
    assert found["seconds"]["aljax"] == 10
    assert found["compile_seconds"] == {"aljax": 5, "aljax_cached": 2.5}
    assert found["ratio_over_authors"] == 3
    assert found["accuracy"]["torch_authors"] == [0.5, 0.5, 0.5]
    rounds = [r | {"torch_compiled": side(10)} for r in rounds]
    found = end_to_end.report(flags, rounds)
    assert found["torch_compile"] and found["ratio_rounds"] == [1, 1, 0.5]


def test_experiments_that_differ_are_not_compared():
    same = {"settings": {"epochs": 5}, "labelled": [10, 20]}
    end_to_end.check_same({"aljax": same, "torch_tuned": dict(same)})
    other = same | {"labelled": [10, 21]}
    with pytest.raises(ValueError, match="torch_tuned ran with labelled"):
        end_to_end.check_same({"aljax": same, "torch_tuned": other})


def test_overhead_is_against_one_device_with_the_same_batch():
    flags = Namespace(
        **{"phases": ["train"], "devices": [1, 2], "processes": [1]},
        **{"batch_size": 8, "score_batch_size": 1},
    )
    rates = {"strong": {1: 10, 2: 8}, "weak": {2: 15}, "alone": {1: 12}}
    measured = {
        case: [
            {
                "images_per_second": rates[case.scaling][case.devices],
                "collectives": 3,
                "collective_bytes": 40,
            }
        ]
        for case in scaling.cases(flags)
    }
    strong, weak = scaling.rows(measured)
    assert (strong["batch_size"], weak["batch_size"]) == (8, 16)
    assert strong["overhead"] == pytest.approx(10 / 8 - 1)
    assert strong["efficiency"] == pytest.approx(8 / 20)
    assert weak["overhead"] == pytest.approx(12 / 15 - 1)
    assert weak["efficiency"] == pytest.approx(15 / 20)


def test_each_local_process_sees_its_own_gpus(monkeypatch):
    seen = {}

    def printed(line, environment):
        seen[line[-1]] = environment["CUDA_VISIBLE_DEVICES"]
        return json.dumps({"of": line[-1]})

    monkeypatch.setattr(side_by_side, "_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,6,7")
    monkeypatch.setattr(scaling, "printed", printed)
    flags = Namespace(model="resnet18", width=4, precision="float32", steps=1, srun="")
    found = scaling.measure(flags, scaling.Case("score", "strong", 4, 8, processes=2))
    assert seen == {"--process=0": "3,5", "--process=1": "6,7"}
    assert found == {"of": "--process=0"}


def test_a_process_is_asked_to_stop_when_its_time_is_over(tmp_path):
    saving = (
        "import pathlib, signal, sys, time\n"
        f"path = pathlib.Path({str(tmp_path / 'saved')!r})\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(path.write_text('all')))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(TimeoutError, match="stopped after 1 s"):
        process.call([sys.executable, "-c", saving], seconds=1)
    assert (tmp_path / "saved").read_text() == "all"
    with pytest.raises(ValueError, match="failed:\nno such thing"):
        process.call([sys.executable, "-c", "import sys; sys.exit('no such thing')"])


def test_collectives_are_counted_in_a_program():
    text = """
      %a = f32[16,4]{1,0} all-reduce(f32[16,4] %x), replica_groups={}
      %b = (f32[2]{0}, s32[]) all-reduce(%y, %z), to_apply=%add
      %c = f32[8]{0} add(%all-reduce.1, %q)
      %d = bf16[6]{0} all-gather(bf16[3] %w), dimensions={0}
    """
    assert aljax_side.collectives(text) == (3, 256 + 12 + 12)


def test_multiplications_are_those_of_the_network(tiny_learner):
    shapes = jax.eval_shape(partial(init, tiny_learner), jax.random.key(0))
    stem, first = 32 * 32 * 9 * 1 * 8, 2 * 32 * 32 * 9 * 8 * 8
    second = 16 * 16 * (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16)
    assert aljax_side.multiplications(shapes.params) == stem + first + second


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_multiplications_are_those_of_pytorch(name):
    torch = pytest.importorskip("torch", reason="PyTorch's layers are counted")
    import torch_network

    count = 0

    def add(layer, inputs, output):
        nonlocal count
        count += output[0].numel() * layer.weight[0].numel()

    theirs = torch_network.Network(name, 8, 3, 10).eval()
    for layer in theirs.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(add)
    with torch.no_grad():
        theirs(torch.zeros(1, 3, 32, 32))
    ours = MODELS[name](classes=10, width=8)
    shapes = jax.eval_shape(ours.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert aljax_side.multiplications(shapes["params"]) == count > 1e6
    found = layers.layers(name, width=8, batch=2)
    assert sum(n * layer.multiplications() for layer, n in found.items()) == 2 * count
