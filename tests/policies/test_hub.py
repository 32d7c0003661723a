"""Policies on the Hub, against a stand-in on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import manyways
from manyways import InputError
from manyways.hub import is_hub_name
from manyways.policies.hub import card
from manyways.runs import train

pytest.importorskip("huggingface_hub")
sys.path.append(str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1] / "demonstrations"))
import data_sets
from hub_server import serving


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def run(tmp_path, demonstrations, labels):
    demonstrations.save(tmp_path / "data.npz", modes=labels)
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=60, hidden=16)
    made = train(settings, tmp_path / "run", data=tmp_path / "data.npz", loggers=(), command="manyways train data.npz")
    made.set_names({1: "over|the box"})
    return made


def python(server, folder, program, token="good"):
    """Run a program whose Hub is the server: the client reads its address when it is imported."""
    keep = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment = keep | {"HF_ENDPOINT": server.address, "HF_HOME": str(folder / "hf"), "HF_TOKEN": token}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, cwd=folder, check=False
    )


def manyways_(*arguments):
    return f"import sys\nfrom manyways.cli.main import main\nsys.argv = {['manyways', *map(str, arguments)]!r}\nmain()"


def test_a_run_is_pushed_with_its_card_and_pictures_and_read_again(server, run, tmp_path, command):
    for name in ("modes", "report"):
        assert command(name, run.path)[0] == 0
    pushed = python(server, tmp_path, manyways_("push", run.path, "ann/arm"))
    assert pushed.returncode == 0, pushed.stderr
    assert f"{server.address}/ann/arm" in pushed.stdout
    files = server.repos["ann/arm"]
    assert files["policy.safetensors"] == (run.path / "policy.safetensors").read_bytes()
    text = files["README.md"].decode()
    assert text.startswith("---\nlibrary_name: manyways\n")
    assert "| 1 | over\\|the box | 12 | 50.0% |" in text
    assert "held-out loss: 0." in text
    assert "purity 1.000" in text
    assert "    manyways train data.npz" in text
    pictures = [name for name in files if name.startswith("pictures/")]
    assert pictures
    assert all(files[name].startswith(b"\x89PNG") and f"]({name})" in text for name in pictures)

    program = (
        "import numpy, manyways\n"
        "policy = manyways.load_policy('ann/arm')\n"
        "assert policy.provenance['algorithm'] == 'sog-bc', policy.provenance\n"
        "print(policy.predict(numpy.ones(3), policy.code('over|the box'), deterministic=True)[0].tolist())\n"
        "manyways.Policy.from_pretrained('ann/arm', revision='main')"
    )
    read = python(server, tmp_path, program)
    assert read.returncode == 0, read.stderr
    policy = run.policy()
    expected = policy.predict(np.ones(3), policy.code(1), deterministic=True)[0]
    np.testing.assert_allclose(json.loads(read.stdout), expected, rtol=1e-5)
    assert not any("README" in line or "pictures" in line for line in server.asked if "resolve" in line)


def test_a_policy_is_pushed_from_python(server, policy, tmp_path):
    policy.save(tmp_path / "saved")
    program = "import manyways; print(manyways.load_policy('saved').push_to_hub('ann/other', private=True))"
    pushed = python(server, tmp_path, program)
    assert pushed.returncode == 0, pushed.stderr
    assert set(server.repos["ann/other"]) == {"policy.json", "policy.safetensors", "README.md"}


def test_what_the_hub_refuses_is_one_sentence(server, run, tmp_path):
    for arguments, token, message in (
        (("push", run.path, "ann/arm"), "bad", "uploading to ann/arm failed"),
        (("push", run.path, "a b"), "good", "'a b' is no name on the Hub; give USER/NAME"),
        (("evaluate", "ann/nothing", "--env", "CartPole-v1"), "good", "ann/nothing is no folder"),
    ):
        finished = python(server, tmp_path, manyways_(*arguments), token)
        assert finished.returncode == 2, finished.stderr
        assert message in finished.stderr
        assert finished.stderr.count("\n") == 1, finished.stderr
    missing = python(server, tmp_path, "import manyways; manyways.load_policy('ann/nothing')")
    assert "InputError: ann/nothing is no folder here, and reading it from the Hub failed" in missing.stderr


def test_a_hub_that_is_not_there_is_one_sentence(server, policy, tmp_path):
    policy.save(tmp_path / "saved")
    server.server_close()
    server.address = "http://127.0.0.1:9"
    pushed = python(server, tmp_path, "import manyways; manyways.load_policy('saved').push_to_hub('ann/arm')")
    assert "InputError: uploading to ann/arm failed" in pushed.stderr


def test_without_the_extra_a_sentence_says_what_to_install(policy, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"manyways\[hub\]"):
        policy.push_to_hub("ann/arm")
    with pytest.raises(InputError, match=r"ann/arm is no folder here, and reading it from the Hub needs"):
        manyways.load_policy("ann/arm")


def test_folders_come_before_names(tmp_path, monkeypatch, policy):
    monkeypatch.chdir(tmp_path)
    policy.save("ann/arm")
    assert not is_hub_name("ann/arm")
    assert manyways.load_policy("ann/arm").modes == policy.modes
    assert is_hub_name("ann/other")
    assert not is_hub_name("/ann/arm")
    assert not is_hub_name("runs/a/b")


def test_the_card_of_a_policy_without_codes_has_no_table(demonstrations):
    text = card(manyways.MDN(iterations=2, hidden=8).fit(demonstrations), "ann/mdn", [], [])
    assert "| code |" not in text
    assert "- algorithm: mdn" in text
    assert "policy.predict(observation, deterministic=True)" in text


def test_a_lerobot_data_set_is_read_from_the_hub_without_its_videos(server, tmp_path):
    made = tmp_path / "made"
    data_sets.lerobot(made, "v3.0")
    files = {path.relative_to(made).as_posix(): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    server.repos["ann/arm"] = files | {"videos/top.mp4": b"large", "README.md": b"# arm"}
    environment = f"import os; os.environ['MANYWAYS_CACHE'] = {str(tmp_path / 'cache')!r}; import manyways\n"
    program = environment + "print(manyways.Demonstrations.load('hf://datasets/ann/arm'))"
    first = python(server, tmp_path, program)
    assert first.returncode == 0, first.stderr
    expected = str(manyways.Demonstrations.load(made))
    assert first.stdout.strip() == expected
    assert not any("videos" in asked or "README" in asked for asked in server.asked)
    server.asked.clear()
    assert python(server, tmp_path, program).stdout.strip() == expected
    assert not any("resolve" in asked and asked.startswith("GET") for asked in server.asked)
    inspected = python(server, tmp_path, environment + manyways_("inspect", "hf://datasets/ann/arm"))
    assert inspected.returncode == 0, inspected.stderr
    missing = python(server, tmp_path, environment + manyways_("inspect", "hf://datasets/ann/nothing"))
    assert missing.returncode == 2
    assert missing.stderr.startswith("manyways: reading ann/nothing from the Hub failed")
