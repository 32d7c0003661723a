"""What is quick stays quick: heavy packages are not imported where they are not needed."""

import subprocess
import sys

import numpy as np
import pytest
from own_tasks_source import OWN

from manyways.files import write_json

HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "pandas", "minari", "mujoco", "tensorboard")


def imported(arguments):
    """Return which heavy packages a command imports, and what it prints."""
    program = (
        "import sys\nfrom manyways.cli.main import main\n"
        f"sys.argv = ['manyways', *{list(map(str, arguments))!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return result.stdout.rpartition("HEAVY ")[2].strip(), result.stdout + result.stderr


def test_the_package_is_imported_without_them():
    program = f"import sys, manyways; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("train", "--help"),
        ("train", "sog-bc", "--help"),
        ("train", "sog-gail", "--help"),
        ("evaluate", "--help"),
        ("explore", "--help"),
        ("expert", "train", "--help"),
        ("reproduce", "mnist", "--help"),
        ("reproduce", "table1", "--help"),
        ("reproduce", "figures", "--help"),
        ("algorithms",),
        ("tasks",),
    ],
)
def test_help_is_shown_without_them(arguments):
    assert imported(arguments)[0] == "[]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("inspect", "nowhere.npz"), "does not exist"),
        (("train", "nowhere.npz", "--modes", 2, "--out", "run"), "does not exist"),
        (("train", "magic", "--out", "run"), "there is no algorithm 'magic'"),
        (("train", "sog-bc", "--task", "squares", "--out", "run"), "there is no task 'squares'"),
        (("evaluate", "nowhere"), "is not the folder of a run"),
        (("report", "nowhere"), "is not the folder of a run"),
        (("explore", "nowhere"), "nowhere is no file, no folder and no local Minari data set"),
        (("modes", "nowhere"), "is not the folder of a run"),
        (("film", "nowhere"), "is not the folder of a run"),
        (("robustness", "nowhere"), "is not the folder of a run"),
        (("collect", "squares", "--out", "data"), "there is no task 'squares'"),
        (("train", "sog-bc", "d.npz", "--modes", 2, "--out", "r", "--encoder", "nope"), "there is no encoder 'nope'"),
        (("train", "sog-bc", "d.npz", "--modes", 2, "--out", "r", "--encoder", "my:nope"), "there is no encoder 'my:"),
        (("train", "sog-bc", "d.npz", "--modes", 2, "--out", "r", "--names-from", "nothing"), "nothing is no folder"),
        (("train", "sog-bc", "d.npz", "--modes", 2, "--out", "r", "--init", "nothing"), "nothing is no folder"),
        (("train", "sog-bc", "d.npz", "--modes", 99, "--out", "r"), "99"),
        (("export", "nothing", "x.onnx"), "nothing is no folder"),
        (("evaluate", "run"), "give one with `manyways evaluate run --env ID`"),
        (("evaluate", "run", "--env", "Nope-v0"), "the environment Nope-v0 cannot be made"),
        (("evaluate", "run", "--env", "Pendulum-v1", "--success", "all > 3"), "success is 'all > 3'"),
        (("robustness", "run"), "nothing can be rolled out; train with --task NAME"),
        (("film", "run"), "nothing can be rolled out; train with --task NAME"),
        (("modes", "run", "--data", "nope.npz"), "nope.npz does not exist"),
    ],
)
def test_errors_are_told_without_them(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    two = np.random.default_rng(0).normal(size=(2, 9, 1))
    np.savez(tmp_path / "d.npz", observations=two, actions=two)
    config = dict.fromkeys(("task", "weights", "mode_count")) | {"algorithm": "sog-bc", "data": "d.npz", "format": 2}
    write_json(tmp_path / "run" / "config.json", config | {"settings": {"seed": 0}, "provenance": {"data": ""}})
    (tmp_path / "run" / "policy.json").touch()
    found, printed = imported(arguments)
    assert message in printed
    assert found == "[]"


@pytest.mark.parametrize("algorithm", ["bet", "vq-bet", "diffusion", "sog-gail", "gail"])
def test_discrete_actions_are_refused_without_them(algorithm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_tasks.py").write_text(OWN)
    np.savez("d.npz", observations=np.zeros((4, 9, 4)), actions=np.tile([0, 1, 1], (4, 3)), choices=2)
    task = ("--task", "own_tasks:CART") if "gail" in algorithm else ()
    modes = ("--modes", 2) if algorithm == "sog-gail" else ()
    found, printed = imported(("train", algorithm, "d.npz", *task, *modes, "--out", "run"))
    assert f"{algorithm} cannot learn discrete actions" in printed
    assert found == "[]"


def test_a_data_set_is_inspected_without_them(tmp_path):
    np.savez(tmp_path / "data.npz", observations=np.ones((2, 3, 1)), actions=np.ones((2, 3, 1)))
    found, printed = imported(("inspect", tmp_path / "data.npz"))
    assert "2 trajectories" in printed
    assert found == "[]"


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_imports_no_compiler(tmp_path, demonstrations, optimizer):
    demonstrations.save(tmp_path / "data.npz")
    program = (
        "import sys, manyways\n"
        f"settings = manyways.SOGBC(iterations=3, optimizer={optimizer!r})\n"
        f"manyways.train(settings, {str(tmp_path / 'run')!r}, data={str(tmp_path / 'data.npz')!r}, modes=2)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
