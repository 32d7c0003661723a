"""An algorithm of somebody's own, the one in docs/extending.md, does by name what those that ship do."""

import json
import re
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import ClassVar

import pytest

import manyways
from manyways import InputError, algorithms

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def my_module(tmp_path, monkeypatch):
    """Put the page's algorithm into a module on the path; what it registers is forgotten afterwards."""
    text = next(code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "class Lin" in code)
    (tmp_path / "my_module.py").write_text(text.replace("manyways.register_algorithm(LinearCloning)\n", ""))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(algorithms, "_ALGORITHMS", dict(algorithms._ALGORITHMS))
    yield "my_module:LinearCloning"
    sys.modules.pop("my_module", None)


def test_it_is_trained_continued_evaluated_and_reported_by_name(command, my_module, circles_folder, tmp_path):
    run = tmp_path / "run"
    options = (circles_folder, "--task", "circles", "--out", run, "--ridge", 0.01, "--hidden", 16)
    code, out, error = command("train", my_module, *options)
    assert code == 0, error
    assert json.loads((run / "config.json").read_text())["settings"]["ridge"] == 0.01
    weights = (run / "policy.safetensors").read_bytes()
    assert command("train", my_module, *options)[0] == 0  # the same command continues
    assert (run / "policy.safetensors").read_bytes() == weights
    code, _, error = command("train", my_module, *options[:-1], 32)
    assert code == 2
    assert "is a run with hidden 16, not 32" in error
    assert command("evaluate", run, "--episodes", 3)[0] == 0
    assert command("report", run)[0] == 0
    assert (run / "report.html").exists()
    code, out, _ = command("train", my_module, "--help")
    assert code == 0
    assert "the weight of the squared coefficients" in out.lower()


def test_an_entry_point_of_another_package_is_found_by_its_name(my_module, monkeypatch, demonstrations):
    entry = EntryPoint("linear-cloning", my_module, algorithms.ENTRY_POINTS)
    monkeypatch.setattr(algorithms, "entry_points", lambda **chosen: EntryPoints([entry]).select(**chosen))
    assert "linear-cloning" in manyways.algorithm_names()
    policy = manyways.get_algorithm("linear-cloning")().fit(demonstrations)
    assert policy.predict([0.0, 0.0, 0.0])[0].shape == (2,)


@dataclass(frozen=True, kw_only=True)
class Impostor(manyways.Algorithm):
    """An algorithm with a name that is taken."""

    name: ClassVar[str] = "sog-bc"
    summary: ClassVar[str] = ""


def test_other_things_than_algorithms_are_refused():
    for wrong, message in (
        (Impostor, "the name 'sog-bc' belongs to SOGBC"),
        (dict, "is no algorithm; derive a dataclass from manyways.Algorithm"),
        (manyways.Algorithm, "is no algorithm"),
    ):
        with pytest.raises(InputError, match=message):
            manyways.register_algorithm(wrong)
    for name, message in (
        ("telepathy", "there is no algorithm 'telepathy'; the algorithms are sog-bc, bc"),
        ("nowhere:Nothing", "there is no algorithm 'nowhere:Nothing'"),
        ("math:pi", "3.14.* is no algorithm"),
    ):
        with pytest.raises(InputError, match=message):
            manyways.get_algorithm(name)


def test_every_setting_of_every_algorithm_has_a_meaning_on_the_command_line(command):
    from manyways.cli.arguments import options

    for name in manyways.algorithm_names():
        for option in options(manyways.get_algorithm(name)):
            assert option.help, f"{name}: {option}"
