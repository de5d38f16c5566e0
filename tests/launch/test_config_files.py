"""A person's own configuration file that is wrong: one sentence that names the line."""

import pytest

import aljax
from aljax.grid import validate_grid
from aljax.recipes import load_config

GOOD = "import aljax\ndef get_config():\n    return aljax.Config(epochs=7)\n"
# name -> (content, what the sentence says)
WRONG = {
    "syntax error": ("x = 1\ndef get_config(:\n", ["line 2 fails with SyntaxError"]),
    "indentation": ("def f():\nreturn 1\n", ["line 2 fails with IndentationError"]),
    "exception": ("\n\n1 / 0\n", ["line 3 fails with ZeroDivisionError: division"]),
    "exception in get_config": (
        "def get_config():\n    x = 1\n    return {}['a']\n",
        ["line 3 fails with KeyError: 'a'"],
    ),
    "exception further down": (
        "import json\ndef get_config():\n    return json.loads('{')\n",
        ["line 3 fails with JSONDecodeError"],
    ),
    "missing import": ("import torchh\n", ["line 1 fails with ModuleNotFoundError"]),
    "NUL": ("x = 1\0\n", ["fails with", "null bytes"]),
    "not Python": ("epochs: 3\nmodel: a b\n", ["line 2 fails with SyntaxError"]),
    "not text": (b"\xff\xfe\x00\x01", ["fails with"]),
    "exit": ("import sys\nsys.exit(0)\n", ["line 2 fails with SystemExit: 0"]),
    "bare exit": ("raise SystemExit\n", ["line 1 fails with SystemExit."]),
    "a ValueError": ("raise ValueError\n", ["line 1 fails with ValueError."]),
    "a ValueError of theirs": (
        "def get_config():\n    raise ValueError('bad\\nluck')\n",
        ["line 2 fails with ValueError: bad luck."],
    ),
    "no function": ("config = 3\n", ["no function get_config()"]),
    "no callable": ("get_config = 3\n", ["no function get_config()"]),
    "wants an argument": (
        "def get_config(x):\n    return x\n",
        ["fails with TypeError", "'x'"],
    ),
    "gives nothing": (
        "def get_config():\n    pass\n",
        ["gives a NoneType", "aljax.Config"],
    ),
    "gives a dict": ("def get_config():\n    return {}\n", ["gives a dict"]),
    "unknown field": (
        "import aljax\ndef get_config():\n    return aljax.Config(modle='a')\n",
        ["line 3 fails with TypeError", "'modle'"],
    ),
    "empty": ("", ["no function get_config()"]),
}


def refusal(text: str) -> str:
    with pytest.raises(ValueError) as error:
        load_config(text)
    said = str(error.value)
    assert "\n" not in said and said.startswith(f"--config={text}: ")
    assert said.endswith(".")
    return said


@pytest.mark.parametrize("name", WRONG)
def test_one_sentence_that_names_the_line(name, tmp_path):
    content, words = WRONG[name]
    path = tmp_path / "mine.py"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = refusal(str(path))
    for word in words:
        assert word in said


@pytest.mark.parametrize("path", ["nowhere.py", "", ".", "\0.py", "a" * 300])
def test_no_such_file(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "quickstart" in refusal(path)


def test_a_field_that_there_is_not(tmp_path):
    slip = "import aljax\ndef get_config():\n    config = aljax.Config()\n    {} = 3\n"
    for field in ("config.epoch", "config.query.epoch", "config.optimizers['sgd'].lr"):
        text = slip.format(field) + "    return config\n"
        (tmp_path / "mine.py").write_text(text)
        with pytest.raises(ValueError, match=f"'{field.split('.')[-1]}'"):
            validate_grid(load_config(str(tmp_path / "mine.py")))


def test_a_recipe_without_parts_and_a_folder(tmp_path):
    assert "this recipe has no parts; write quickstart." in refusal("quickstart:some")
    assert "this is a folder" in refusal(str(tmp_path))


def test_what_is_fine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(GOOD)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_config("~/mine.py").epochs == 7
    (tmp_path / "told.py").write_text(
        "import aljax\ndef get_config(x):\n    return aljax.Config(epochs=int(x))\n"
    )
    assert load_config(f"{tmp_path / 'told.py'}:9").epochs == 9
    monkeypatch.chdir(tmp_path)
    # A recipe's name is one of aljax, unless a file here has just this name.
    (tmp_path / "quickstart.py").write_text(GOOD)
    assert load_config("quickstart").epochs == 10
    assert load_config("quickstart.py").epochs == 7


REGISTERED = {
    "a number for a strategy": ("aljax.STRATEGIES['x'] = 7", "aljax.Strategy"),
    "a class for an optimizer": (
        "class O:\n    pass\naljax.OPTIMIZERS['x'] = O",
        "a dataclass with a field learning_rate",
    ),
    "an instance for an optimizer": (
        "from aljax.optimizers import Sgd\naljax.OPTIMIZERS['x'] = Sgd()",
        "a dataclass with a field learning_rate",
    ),
    "text for a network": ("aljax.MODELS['x'] = 'resnet18'", "what makes a network"),
    "nothing for a dataset": ("aljax.DATASETS['x'] = None", "aljax.data.Source"),
    "a number for a name": ("aljax.STRATEGIES[3] = aljax.STRATEGIES['random']", "text"),
    "a folder in a name": (
        "aljax.STRATEGIES['../x'] = aljax.STRATEGIES['random']",
        "STRATEGIES['../x']: a name must be text of letters, digits",
    ),
}


@pytest.mark.parametrize("name", REGISTERED)
def test_what_is_registered_is_checked(name, tmp_path):
    text, words = REGISTERED[name]
    (tmp_path / "mine.py").write_text(
        f"import aljax\n{text}\ndef get_config():\n    return aljax.Config()\n"
    )
    try:
        with pytest.raises(ValueError) as error:
            load_config(str(tmp_path / "mine.py"))
    finally:
        for other in (3, "../x"):
            aljax.STRATEGIES.pop(other, None)
        for table in ("STRATEGIES", "OPTIMIZERS", "MODELS", "DATASETS"):
            getattr(aljax, table).pop("x", None)
    said = str(error.value)
    assert said.startswith("aljax.") and words in said and "\n" not in said
