"""Reference curves: the published ones, and clear errors for one's own."""

import numpy as np
import pytest

from aljax.report.reference import COLUMNS, published, read_reference

HEAD = ",".join(COLUMNS)


def test_published_curves():
    curves = {curve.name: curve for curve in published()}
    assert len(curves) == 4
    random = curves["random, eval-al"]
    assert (random.data, random.model, random.optimizer) == (
        "cifar10",
        "resnet18",
        "sgd",
    )
    assert random.n == 3 and random.strategy == "random"
    assert random.labelled.tolist() == list(range(1000, 10_001, 1000))
    assert random.accuracy[[0, -1]].tolist() == pytest.approx([0.4698, 0.8685])
    assert random.sd[0] == pytest.approx(0.0067)
    loss = curves["learning loss, Yoo & Kweon"]
    assert loss.accuracy[4] == pytest.approx(0.85) and loss.sd is None and loss.n == 5
    assert all("20" in curve.source for curve in curves.values())
    assert np.isnan(curves["entropy, eval-al"].sd).tolist() == [True] + [False] * 9


def test_own_curves(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(
        f"{HEAD}\nours,mine,net,sgd,random,,100,50,,me\nours,mine,net,sgd,random,,200,60,1,me\n"
    )
    (curve,) = read_reference(path)
    assert curve.n is None and curve.accuracy.tolist() == [0.5, 0.6]
    assert np.isnan(curve.sd[0]) and curve.sd[1] == 0.01 and curve.source == "me"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no column name, data"),
        ("name,data\n", "has no column model, optimizer"),
        (
            f"{HEAD}\na,b,c,d,e,3,x,50,,s\n",
            "line 2: labels is 'x'; it must be a number",
        ),
        (
            f"{HEAD}\na,b,c,d,e,3,100,101,,s\n",
            "accuracy is '101'; it must be a number fr",
        ),
        (f"{HEAD}\na,b,c,d,e,0,100,50,,s\n", "n is '0'; it must be a number from 1 on"),
        (f"{HEAD}\na,b,c\n", "line 2: labels is None"),
        (
            f"{HEAD}\na,b,c,d,e,3,200,50,,s\na,b,c,d,e,3,100,60,,s\n",
            "line 3: labels 100 are no more than in the line before of 'a'",
        ),
    ],
)
def test_reference_that_is_not_one(tmp_path, text, said):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="--reference=") as error:
        read_reference(path)
    assert said in str(error.value)


def test_reference_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="cannot be read as a table"):
        read_reference(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="cannot be read as a table"):
        read_reference(tmp_path / "bytes.csv")
