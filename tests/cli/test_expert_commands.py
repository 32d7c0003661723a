import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from manyways.tasks import DiscreteModes, get_task, task_names
from manyways.tasks.expert import SHIPPED, Expert

SHIPPED_NAMES = sorted(path.stem for path in SHIPPED.glob("*.safetensors"))


def test_tasks_lists_all(command):
    code, output, _ = command("tasks")
    assert code == 0
    for name in task_names():
        assert name in output
    assert "scripted" in output


def test_the_list_of_tasks_fits_80_columns():
    listed = subprocess.run(
        [sys.executable, "-m", "manyways", "tasks"], env=os.environ | {"COLUMNS": "80"}, capture_output=True, text=True
    ).stdout
    rows = [line for line in listed.splitlines() if line[:1] in "┏┃┡│└"]
    assert {len(line) for line in rows} == {len(rows[0])}
    assert len(rows[0]) <= 80
    assert all(line[-1] in "┓┃┩│┘" for line in rows)
    for task in map(get_task, task_names()):
        words = str(task.modes).split()
        assert all(word in listed for word in words), f"a word of {words} is cut"


def test_an_expert_is_drawn(command, tmp_path):
    code, output, error = command("expert", "picture", "circles", "--episodes", 3, "--out", tmp_path / "circles.png")
    assert code == 0, error
    assert "Next: manyways expert film circles" in output
    picture = np.asarray(Image.open(tmp_path / "circles.png").convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_an_expert_is_evaluated(command):
    code, output, error = command("expert", "evaluate", "circles", "--episodes", 3)
    assert code == 0, error
    assert "R = 20 m" in output
    assert "over 3 episodes" in output


def test_an_expert_is_filmed(command, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    code, _, error = command("expert", "film", "circles", "--seconds", 0.2, "--out", tmp_path)
    assert code == 0, error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mode-0.mp4", "mode-1.mp4", "mode-2.mp4"]


def test_what_cannot_be_is_said_in_one_line(command, tmp_path):
    for arguments, message in (
        (("expert", "train", "circles", "--out", tmp_path / "run"), "scripted expert"),
        (("expert", "train", "squares"), "there is no task 'squares'"),
        (("expert", "picture", "circles", "--out", tmp_path / "a.gif"), "does not end in .png"),
        (("expert", "picture", "ant-dir-6", "--weights", tmp_path / "nowhere"), "ant-dir-6.json"),
    ):
        code, _, error = command(*arguments)
        assert code == 2
        assert message in error
        assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_shipped_experts_have_cards_and_are_small(name):
    expert = Expert.shipped(name)
    card = expert.card
    assert card["task"] == name
    assert "manyways expert train" in card["command"]
    assert {"environment_steps", "wall_seconds", "return_mean", "returns", "target_reached", "settings"} <= set(card)
    assert (SHIPPED / f"{name}.safetensors").stat().st_size < 500_000


@pytest.mark.parametrize("name", [name for name in SHIPPED_NAMES if get_task(name).episode_steps <= 200])
def test_shipped_experts_do_what_their_cards_say(name):
    """A handful of episodes, which must be near what a hundred gave."""
    pytest.importorskip("envpool")
    from manyways.experts import evaluate_expert

    task = get_task(name)
    card = task.trained_expert.card
    probed = evaluate_expert(task, episodes=18, seed=77)
    spread = max(card["return_std"], 0.02)
    assert probed.returns.mean() == pytest.approx(card["return_mean"], abs=4 * spread / np.sqrt(18) + 0.06)
    if isinstance(task.modes, DiscreteModes):
        assert len(probed.returns) == len(task.modes)
