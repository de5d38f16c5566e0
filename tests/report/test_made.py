"""What a page says of how its runs were made."""

from dataclasses import replace
from pathlib import Path

from aljax.report.made import configuration, facts
from aljax.report.runs import Study
from tests.support.records import record


def _study(*runs):
    return Study((Path("runs"),), runs, (), {}, ())


def test_values_that_differ_are_counted():
    runs = [
        record([0.5], trial=1, precision="float32"),
        record([0.5], trial=2, precision="float32"),
        replace(record([0.5], trial=3, precision="bfloat16"), state="failed"),
    ]
    about = {"device": "1 x cpu", "versions": {"jax": "0.10", "aljax": "0.1"}}
    runs[0] = replace(runs[0], about=about)
    found = dict(facts(_study(*runs), "aljax report --workdir=runs"))
    assert found["Command"] == "aljax report --workdir=runs"
    assert found["Runs"] == "2 done and 1 failed"
    assert found["Precision"] == "bfloat16 (1 run), float32 (2 runs)"
    assert found["Device"] == "1 x cpu (1 run), not recorded (2 runs)"
    assert found["Versions"].startswith("aljax 0.1, jax 0.10 (1 run)")
    assert found["Seeds"] == "0"


def test_a_run_that_went_on_elsewhere_says_both():
    later = [{"from_cycle": 2, "device": "1 x gpu", "commit": "a"}]
    about = {"device": "1 x cpu", "commit": "a", "later": later}
    run = replace(record([0.5]), about=about)
    found = dict(facts(_study(run), None))
    assert found["Device"] == "1 x cpu, then 1 x gpu"
    assert found["Commit of aljax"] == "a"


def test_many_values_are_cut_short():
    runs = [record([0.5], width=width) for width in range(8)]
    runs = [replace(run, config=run.config | {"seed": i}) for i, run in enumerate(runs)]
    found = dict(facts(_study(*runs), None))
    assert found["Seeds"].endswith("5 (1 run) and 2 more")
    assert found["Command"] == "not recorded"
    assert dict(configuration(_study(*runs)))["width"] == "8 values"


def test_the_configuration_lists_what_is_shared_first():
    runs = [record([0.5], batch=size, epochs=3) for size in (16, 64)]
    lines = configuration(_study(*runs))
    assert lines[-1] == ("batch", "16 | 64")
    assert ("epochs", "3") in lines[:-1]


def test_it_says_whose_settings_optimizers_have():
    rate = "optimizers.sgd.learning_rate"
    runs = [
        record([0.5], **{rate: 0.1}),
        record([0.5], model="resnet34", **{rate: 0.05}),
        record([0.5], optimizer="adam", **{"optimizers.adam.learning_rate": 1e-3}),
        record([0.5], optimizer="lion"),
    ]
    assert dict(facts(_study(*runs), None))["Settings of optimizers"] == (
        "ResNet18 + SGD: the authors'; "
        "ResNet34 + SGD: learning rate 0.05 instead of 0.1; "
        "Adam: learning rate 0.001 instead of 0.0001; "
        "lion: not used by the study's authors"
    )
    authors = record([0.5], optimizer="adam", **{"optimizers.adam.learning_rate": 1e-4})
    both = dict(facts(_study(*runs, authors), None))["Settings of optimizers"]
    assert both.count("Adam:") == 2 and "Adam: the authors'" in both
    assert "Adam learning rate 0.001: " in both
