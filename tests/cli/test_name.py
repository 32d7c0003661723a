"""`manyways name`, and where names are shown."""

import json

import pytest

import manyways
from manyways.policies.policy import Policy
from manyways.runs import Run, train


@pytest.fixture
def run(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "data.npz")
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=120, hidden=16)
    return train(settings, tmp_path / "run", data=tmp_path / "data.npz", loggers=())


def test_a_mode_is_named_listed_and_found_everywhere(command, run):
    path = run.path
    code, printed, _ = command("name", path, 1, "over")
    assert code == 0
    assert "1 over" in printed
    run.policy().save(path / "best")  # as where environments run
    assert command("name", path, 0, "around [left]")[0] == 0
    code, printed, _ = command("name", path)
    assert code == 0
    assert "0 around [left]" in printed
    assert "12" in printed
    assert Policy.load(path).names == Policy.load(path / "best").names == {0: "around [left]", 1: "over"}
    code, printed, _ = command("modes", path)
    assert "1 over" in printed
    assert json.loads((path / "modes.json").read_text())["names"] == {"0": "around [left]", "1": "over"}
    assert command("report", path)[0] == 0
    assert "1 over</td>" in (path / "report.html").read_text()
    assert command("name", path, 0, "--remove")[0] == 0
    assert Run.open(path).names == {1: "over"}


def test_names_survive_the_same_command_again(run, demonstrations, tmp_path):
    run.set_names({1: "over"})
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=120, hidden=16)
    assert train(settings, run.path, data=tmp_path / "data.npz", loggers=()).names == {1: "over"}


def test_names_go_to_a_new_run_with_their_demonstrations(command, run, tmp_path, demonstrations):
    run.set_names({1: "over"})
    mine = run.policy().losses(demonstrations).argmin(axis=1) == 1
    for seed in (1, 2, 3):
        out = tmp_path / f"new-{seed}"
        options = ("--iterations", 120, "--hidden", 16, "--seed", seed, "--loggers", "jsonl")
        code, *_ = command(
            "train", tmp_path / "data.npz", "--modes", 2, "--names-from", run.path, "--out", out, *options
        )
        assert code == 0
        policy = Policy.load(out)
        assert list(policy.names.values()) == ["over"]
        assert ((policy.losses(demonstrations).argmin(axis=1) == next(iter(policy.names))) == mine).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, "over"), "there is no code 5"),
        ((1, "2"), "would be taken for the index"),
        ((1,), "code 1 needs either a name or --remove"),
        ((1, "over", "--remove"), "code 1 needs either a name or --remove"),
    ],
)
def test_bad_names_are_one_sentence(command, run, arguments, message):
    before = (run.path / "policy.json").read_bytes()
    code, _, error = command("name", run.path, *arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert (run.path / "policy.json").read_bytes() == before


def test_a_run_without_codes_or_without_a_policy_has_nothing_to_name(command, tmp_path, demonstrations, run):
    plain = train(manyways.MDN(iterations=2, hidden=8), tmp_path / "mdn", data=demonstrations, loggers=())
    code, _, error = command("name", plain.path, 0, "over")
    assert code == 2
    assert "without a list of codes" in error
    (run.path / "policy.json").unlink()
    code, _, error = command("name", run.path)
    assert code == 2
    assert "has no policy yet" in error
