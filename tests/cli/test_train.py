"""`manyways train ALGORITHM`: its options are the algorithm's settings, all and only those."""

import re
from dataclasses import dataclass, fields, is_dataclass
from typing import ClassVar

import pytest

from manyways.algorithms import algorithm_names, get_algorithm
from manyways.cli.arguments import Coded, DataOptions, command_class, options, settings_from
from manyways.runs.run import Run

COMMON = {each.name.replace("_", "-") for each in (*fields(Coded), *fields(DataOptions))} - {"data", "taken"}


def flat(settings_class):
    """Return the names of the settings that text can say, those of nested settings too."""
    names = set()
    for field in fields(settings_class):
        if field.name == "prior":
            continue
        default = getattr(settings_class, field.name, None)
        if callable(field.default_factory):
            default = field.default_factory()
        names |= flat(type(default)) if is_dataclass(default) else {field.name}
    return names


@pytest.mark.parametrize("name", algorithm_names())
def test_help_shows_all_and_only_the_algorithms_settings(command, name):
    code, printed, _ = command("train", name, "--help")
    assert code == 0
    listed = set(re.findall(r"^[│ ] ?--([a-z][a-z-]+)", printed, re.MULTILINE)) - {"help"}
    settings_class = get_algorithm(name)
    expected = {field.replace("_", "-") for field in flat(settings_class)}
    coded = issubclass(command_class(settings_class), Coded)
    assert listed == expected | (COMMON if coded else COMMON - {"modes", "code-size", "names-from"})
    assert "(default: " in printed
    assert "None" not in printed.replace("{None}|", "")  # what is left open follows from the data
    assert ("by the" in printed) == any(option.default is None for option in options(settings_class))


@pytest.mark.parametrize("name", algorithm_names())
def test_every_setting_says_what_it_means(name):
    for option in options(get_algorithm(name)):
        assert len(option.help.split()) >= 2, f"{name}: {option.name} has no meaning in a docstring"


@dataclass(frozen=True)
class Inner:
    """Inner settings.

    Args:
        width: of the inner.
        rate: of the inner.
    """

    width: int = 1
    rate: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One's own.

    Args:
        inner: more settings.
        width: of the outer.
        limit: none for none.
        function: which text cannot say.
    """

    name: ClassVar[str] = "own"
    summary: ClassVar[str] = "One's own."
    has_codes: ClassVar[bool] = False

    inner: Inner = Inner()
    width: int = 2
    limit: float | None = 3.0
    function: type = int


def test_nested_settings_keep_their_prefix_where_names_clash():
    assert [option.name for option in options(Settings)] == ["inner_width", "rate", "width", "limit"]
    command = command_class(Settings)
    chosen = command(out="run", inner_width=7, rate=1.0, width=8, limit=None)
    assert settings_from(Settings, chosen) == Settings(inner=Inner(7, 1.0), width=8, limit=None)


def test_the_algorithm_and_the_data_may_come_in_one_breath(command, tmp_path, demonstrations):
    demonstrations.save(tmp_path / "data.npz")
    small = ("--modes", 2, "--iterations", 5, "--hidden", 16)
    assert command("train", "sog-bc", tmp_path / "data.npz", "--out", tmp_path / "one", *small)[0] == 0
    assert command("train", tmp_path / "data.npz", "--out", tmp_path / "other", *small)[0] == 0
    assert Run.open(tmp_path / "other").config["settings"] == Run.open(tmp_path / "one").config["settings"]


def test_nested_settings_reach_the_run(command, tmp_path, demonstrations):
    demonstrations.save(tmp_path / "data.npz")
    small = ("--code-size", 1, "--iterations", 5, "--hidden", 16)
    search = ("--candidates", 7, "--near", "prior", "--no-race")
    assert command("train", tmp_path / "data.npz", "--out", tmp_path / "run", *small, *search)[0] == 0
    found = Run.open(tmp_path / "run").config["settings"]["search"]
    assert (found["candidates"], found["near"], found["race"]) == (7, "prior", False)


def test_train_alone_says_which_algorithms_there_are(command):
    code, printed, _ = command("train", "--help")
    assert code == 0
    for name in algorithm_names():
        assert name in printed
    assert command("algorithms")[1] in printed


def test_an_algorithm_of_ones_own_is_trained_by_its_place(command, tmp_path, demonstrations, monkeypatch):
    (tmp_path / "my_algorithms.py").write_text(
        "from dataclasses import dataclass\n"
        "from typing import ClassVar\n"
        "from manyways.algorithms import SOGBC, Cloning\n"
        "from manyways.latents import Categorical\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Mine(Cloning):\n"
        '    """Settings of mine.\n\n    Args:\n        taste: of it.\n    """\n'
        '    name: ClassVar[str] = "mine"\n'
        '    summary: ClassVar[str] = "SOG-BC, but mine."\n'
        "    taste: float = 0.5\n"
        "    def start(self, demonstrations, environment=None):\n"
        "        return SOGBC(prior=Categorical(2), iterations=self.iterations, hidden=16).start(demonstrations)\n"
    )
    monkeypatch.chdir(tmp_path)
    demonstrations.save(tmp_path / "data.npz")
    code, printed, _ = command("train", "my_algorithms:Mine", "--help")
    assert code == 0
    assert "SOG-BC, but mine." in printed
    assert "--taste" in printed
    options = ("data.npz", "--out", "run", "--iterations", 5, "--taste", 0.25)
    for _ in range(2):  # the second time it goes on where it stands
        code, printed, error = command("train", "my_algorithms:Mine", *options)
        assert code == 0, error
    config = Run.open(tmp_path / "run").config
    assert (config["algorithm"], config["settings"]["taste"]) == ("mine", 0.25)
    assert command("report", "run")[0] == 0
