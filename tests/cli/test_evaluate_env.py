"""`manyways evaluate RUN --env` and `manyways compare`."""

import json

import pytest
from PIL import Image

import manyways
from manyways.runs import Run, train


@pytest.fixture
def run(tmp_path, demonstrations, labels):
    demonstrations.save(tmp_path / "data.npz", modes=labels)
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=120, hidden=16)
    made = train(settings, tmp_path / "run", data=tmp_path / "data.npz", loggers=())
    made.set_names({0: "a [b]"})
    return made


def test_a_run_is_evaluated_in_any_environment_and_the_page_shows_it(command, run):
    arguments = ("--env", "worlds:Line", "--env-kwargs", '{"steps": 4}', "--episodes", 6, "--success", "is_success")
    code, printed, error = command("evaluate", run.path, *arguments)
    assert code == 0, error
    assert "0 a [b]" in printed
    assert "nobody chooses" in printed
    written = json.loads((run.path / "evaluation.json").read_text())
    assert [line["name"] for line in written["codes"]] == ["a [b]", None, None]
    assert "Wilson" in written["intervals"]
    assert written["provenance"]["data"] == run.config["provenance"]["data"]
    assert Run.open(run.path).evaluation().undrawn.episodes == 6
    assert command("report", run.path)[0] == 0
    assert "nobody chooses</td>" in (run.path / "report.html").read_text()


def test_a_folder_of_a_policy_is_enough(command, run, tmp_path):
    run.policy().save(tmp_path / "policy")
    assert command("evaluate", tmp_path / "policy", "--env", "worlds:Line", "--episodes", 2)[0] == 0
    assert (tmp_path / "policy" / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--env", "worlds:Line", "--env-kwargs", "{"), "which is no JSON"),
        (("--env", "worlds:Line", "--env-kwargs", "[1]"), "give an object"),
        (("--env", "worlds:Line", "--env-kwargs", '{"size": 5}'), "observes numbers of shape (5,), but the policy"),
        (("--success", "is_success"), "are of an environment; give --env too"),
        ((), "was trained on data without an environment"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(command, run, arguments, message):
    code, _, error = command("evaluate", run.path, *arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert not (run.path / "evaluation.json").exists()


def test_runs_are_compared_in_a_table_and_a_picture(command, run, tmp_path):
    plain = train(manyways.MDN(iterations=20, hidden=8), tmp_path / "mdn", data=tmp_path / "data.npz", loggers=())
    for path in (run.path, plain.path):
        assert command("evaluate", path, "--env", "worlds:Line", "--episodes", 4)[0] == 0
    code, printed, error = command("compare", run.path, plain.path, "--out", tmp_path / "table")
    assert code == 0, error
    assert "sog-bc" in printed
    assert "mdn" in printed
    coded, without = json.loads((tmp_path / "table.json").read_text())["runs"]
    assert coded["purity"] == 1
    assert 0 < coded["of_the_mean"] < 0.1
    assert without["codes"] == "none"
    assert without["held_out_loss"] is not None
    assert without["success"][1] < without["success"][2]
    assert coded["best_success"] == 1
    assert Image.open(tmp_path / "table.png").width > 300


def test_what_does_not_compare_is_said(command, run, tmp_path, demonstrations):
    other = train(
        manyways.SOGBC(prior=manyways.Categorical(2), iterations=20, hidden=8),
        tmp_path / "other",
        data=demonstrations.select(range(20)),
        loggers=(),
    )
    demonstrations.select(range(20)).save(tmp_path / "twenty.npz")
    code, _, error = command("compare", run.path, "--out", tmp_path / "table")
    assert code == 2
    assert "1 run is nothing to compare" in error
    code, _, error = command("compare", run.path, other.path, "--out", tmp_path / "table")
    assert code == 2
    assert "was trained on demonstrations in memory" in error
    third = train(
        manyways.SOGBC(prior=manyways.Categorical(2), iterations=20, hidden=8),
        tmp_path / "third",
        data=tmp_path / "twenty.npz",
        loggers=(),
    )
    code, printed, _ = command("compare", run.path, third.path, "--out", tmp_path / "table")
    assert code == 0
    assert "different data" in printed
