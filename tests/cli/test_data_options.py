"""Choosing columns and episodes on the command line, and converting data sets."""

import json
import os
import re
import subprocess
import sys

import h5py
import numpy as np
import pytest

from manyways import Demonstrations, load_modes

QUICK = ("--iterations", "60", "--hidden", "16")


@pytest.fixture
def robomimic(tmp_path, demonstrations, labels):
    """Two operators, each of whom does the task in one way; demo_24 has a value that is not finite."""
    with h5py.File(tmp_path / "demo.hdf5", "w") as file:
        for index, (observations, actions) in enumerate([*demonstrations, demonstrations[0]]):
            demo = file.create_group(f"data/demo_{index}")
            demo.attrs["operator"] = "ann" if labels[index % 24] else "bob"
            demo["actions"] = actions
            demo["obs/arm"] = observations[:, :2]
            demo["obs/grip"] = np.where(index == 24, np.nan, observations[:, 2:])
            demo["obs/image"] = np.zeros((len(actions), 8, 8, 3), np.uint8)
        file["mask/train"] = np.array([f"demo_{index}" for index in range(20)], dtype="S")
    return tmp_path / "demo.hdf5"


@pytest.mark.filterwarnings("ignore")
def test_a_run_remembers_what_was_taken_of_its_data(command, tmp_path, robomimic, labels):
    run = tmp_path / "run"
    options = ("--observations", "arm", "grip", "--episodes", "train", "--exclude", "demo_3")
    code, out, _ = command("inspect", robomimic, *options)
    assert code == 0
    assert "19 trajectories" in out
    assert "operator: " in out
    assert re.search(r"observations:.* arm\.1 .*actions:", out, re.DOTALL)
    assert f"manyways train {robomimic} --observations arm grip --episodes train --exclude demo_3 --modes K" in out
    assert command("train", robomimic, *options, "--modes", 2, "--out", run, "--iterations", 300)[0] == 0
    taken = {"observations": ["arm", "grip"], "episodes": "train", "exclude": ["demo_3"]}
    assert json.loads((run / "config.json").read_text())["selection"] == taken
    code, out, error = command("modes", run)
    assert code == 0, error
    assert "operator" in out
    result = json.loads((run / "modes.json").read_text())
    assert result["identities"] == [f"demo_{index}" for index in range(20) if index != 3]
    assert sorted(map(sorted, result["attributes"]["operator"].values())) == [[0, 9], [0, 10]]
    # Other episodes of the same file: the columns are still those of the run.
    assert command("modes", run, "--data", robomimic, "--exclude", "demo_24")[0] == 0
    assert len(json.loads((run / "modes.json").read_text())["identities"]) == 24
    code, _, error = command("modes", run, "--observations", "grip", "arm")
    assert code == 2
    assert "the data set has the column 'grip' where the policy has 'arm.0'" in error
    assert command("report", run)[0] == 0
    assert command("train", robomimic, *options, "--modes", 2, "--out", run, "--iterations", 300)[0] == 0
    code, _, error = command("train", robomimic, "--episodes", "0:5", "--modes", 2, "--out", run, "--iterations", 300)
    assert code == 2
    assert "is a run on other data" in error


def test_a_warning_is_one_line(command, robomimic):
    _, _, error = command("inspect", robomimic)
    assert error == f"manyways: warning: {robomimic} also holds image, which are not used\n"


@pytest.mark.filterwarnings("ignore")
def test_bad_trajectories_are_named_and_dropped(command, tmp_path, robomimic):
    code, _, error = command("train", robomimic, "--modes", 2, "--out", tmp_path / "run", *QUICK)
    assert code == 2
    assert error.count("\n") == 1
    assert "trajectory 24 (demo_24), step 0, column grip" in error
    assert "--drop-bad" in error
    assert not (tmp_path / "run").exists()
    code, out, _ = command("inspect", robomimic)
    assert "not finite" in out
    assert "Training would refuse 1 of 25 trajectories: observations have nan in trajectory 24 (demo_24)" in " ".join(
        out.split()
    )
    assert f"manyways train {robomimic} --drop-bad --modes K" in " ".join(out.split())
    code, out, _ = command("inspect", robomimic, "--episodes", "24")
    assert "no trajectory is good" in " ".join(out.split())
    assert "--drop-bad" not in out
    assert "Next" not in out
    assert command("train", robomimic, "--drop-bad", "--modes", 2, "--out", tmp_path / "run", *QUICK)[0] == 0
    assert command("modes", tmp_path / "run")[0] == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["inspect", "train"])
def test_all_bad_trajectories_are_listed_at_once(command, tmp_path, name):
    observations = np.zeros((13, 2))
    observations[[3, 7], [0, 1]] = np.nan, np.inf
    np.savez(tmp_path / "a.npz", observations=observations, actions=np.zeros((13, 1)), lengths=[5, 3, 4, 1])
    rest = ("--modes", 2, "--out", tmp_path / "run") if name == "train" else ()
    code, _, error = command(name, tmp_path / "a.npz", *rest)
    assert code == 2
    assert error.startswith(
        "manyways: observations have nan in trajectory 0, step 3, column 0; observations have inf in trajectory 1, "
        "step 2, column 1; trajectory 3 has length 1; leave out"
    )
    assert "--drop-bad" in error


@pytest.mark.parametrize("arguments", [("inspect", "x" * 300), ("modes", "x" * 300), ("report", "x" * 300)])
def test_a_path_that_is_too_long_is_one_sentence(command, arguments):
    code, _, error = command(*arguments)
    assert code == 2
    assert error.startswith("manyways: xxx")
    assert "File name too long" in error
    assert error.count("\n") == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "out", [("a.npz",), ("a",), ("a", "--format", "csv"), ("a.parquet",), ("a.hdf5",)], ids=lambda out: " ".join(out)
)
def test_a_data_set_is_converted_with_its_labels(command, tmp_path, demonstrations, labels, out):
    demonstrations.save(tmp_path / "data.npz", modes=labels)
    name, *format = out
    code, printed, _ = command("convert", tmp_path / "data.npz", tmp_path / name, *format, "--episodes", "1:7")
    assert code == 0
    assert f"Next: manyways inspect {tmp_path / name}" in printed
    converted = Demonstrations.load(tmp_path / name)
    chosen = demonstrations.select(np.arange(1, 7))
    np.testing.assert_array_equal(converted.observations, chosen.observations)
    np.testing.assert_array_equal(converted.actions, chosen.actions)
    np.testing.assert_array_equal(load_modes(tmp_path / name), labels[1:7])


def test_converting_into_a_full_folder_is_refused(command, tmp_path, demonstrations):
    demonstrations.save(tmp_path / "data.npz")
    code, _, error = command("convert", tmp_path / "data.npz", tmp_path, "--format", "csv")
    assert code == 2
    assert "holds something already" in error
    assert [path.name for path in tmp_path.iterdir()] == ["data.npz"]


@pytest.fixture
def compass(tmp_path):
    """A file whose heading wraps in the observation and the action, for two modes that turn either way."""
    rng = np.random.default_rng(0)
    heading = np.pi + 0.3 * rng.standard_normal((24, 20, 1))
    turn = np.where(np.arange(24) % 2, 0.3, -0.3)[:, None, None]
    wrapped = [(angle + np.pi) % (2 * np.pi) - np.pi for angle in (heading, heading + turn)]
    np.savez(tmp_path / "compass.npz", observations=wrapped[0], actions=wrapped[1], modes=np.arange(24) % 2)
    return tmp_path / "compass.npz"


def test_angles_are_pointed_out_and_declared(command, tmp_path, compass):
    code, out, _ = command("inspect", compass)
    assert code == 0
    told = "--angles observations.0 actions.0"
    assert "jump by a whole turn, as angles do, and are learned as angles, unless" in " ".join(out.split())
    code, out, _ = command("inspect", compass, "--angles", "none")
    assert (code, "jump by" in out) == (0, False)
    code, out, _ = command("inspect", compass, *told.split())
    assert (code, "jump by" in out) == (0, False)
    assert f"{told} --modes K" in " ".join(out.split())
    run = tmp_path / "run"
    options = (*told.split(), "--modes", 2, "--out", run, "--iterations", 200, "--hidden", 16, "--horizon", 4)
    code, _, error = command("train", compass, *options, "--details", 2, "--ensemble", 0.1)
    assert code == 0, error
    assert json.loads((run / "config.json").read_text())["settings"]["ensemble"] == 0.1
    code, out, error = command("modes", run)
    assert code == 0, error
    gates = json.loads((run / "modes.json").read_text())["gates"]
    assert 0 <= gates["detail_entropy"] <= np.log(2) + 1e-6
    assert gates["purity_with_details"] >= gates["purity"] >= 0.5
    assert "gates: a detail's entropy where it is chosen is" in " ".join(out.split())
    assert command("report", run)[0] == 0
    code, _, error = command("train", compass, *options[2:], "--details", 2, "--ensemble", 0.1)
    assert code == 2  # without the declaration these are other data
    code, _, error = command("inspect", compass, "--quaternions", "observations.0")
    assert (code, error.count("\n")) == (2, 1)
    assert "a quaternion has four" in error


@pytest.mark.parametrize("source", ["real.hdf5", "link.hdf5"])
@pytest.mark.parametrize("out", ["real.hdf5", "link.hdf5", "hard.hdf5"])
def test_a_data_set_is_not_converted_onto_itself(command, tmp_path, robomimic, source, out):
    robomimic.rename(tmp_path / "real.hdf5")
    (tmp_path / "link.hdf5").symlink_to(tmp_path / "real.hdf5")
    (tmp_path / "hard.hdf5").hardlink_to(tmp_path / "real.hdf5")
    before = (tmp_path / "real.hdf5").read_bytes()
    code, _, error = command("convert", tmp_path / source, tmp_path / out)
    assert (code, error.count("\n")) == (2, 1)
    assert "is the source itself" in error
    assert (tmp_path / "real.hdf5").read_bytes() == before


def test_a_data_set_is_not_converted_into_itself(command, tmp_path, demonstrations):
    demonstrations.select(np.arange(2)).save(tmp_path / "trials", format="csv")
    before = (tmp_path / "trials" / "episode_0.csv").read_bytes()
    code, _, error = command("convert", tmp_path / "trials", tmp_path / "trials" / "episode_0.csv", "--format", "npz")
    assert (code, error.count("\n")) == (2, 1)
    assert "lies in the source" in error
    assert (tmp_path / "trials" / "episode_0.csv").read_bytes() == before


def test_numbers_stay_whole_on_a_narrow_terminal(tmp_path):
    rng = np.random.default_rng(0)
    names = tuple(f"observation.of.the.left.arm.joint_{number}.velocity" for number in range(2))
    data = Demonstrations(
        rng.normal(size=(9, 2)).astype(np.float32) * [1.2345e-9, 1],
        rng.normal(size=(9, 2)).astype(np.float32),
        np.array([9]),
        names={"observations": names},
    )
    data.save(tmp_path / "d.npz")
    shown = subprocess.run(
        [sys.executable, "-m", "manyways", "inspect", tmp_path / "d.npz"],
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "…" not in shown
    assert f"{data.observations[:, 0].min():.4g}" in shown
