import json
from collections import Counter

import numpy as np
import pytest

import manyways
from manyways import InputError
from manyways.files import read_json, write_json
from manyways.reproduce import experiments, paper
from manyways.reproduce.execution import run_all
from manyways.reproduce.experiments import LISTS, PAPER_LABEL, STEPS, Experiment, select
from manyways.reproduce.measure import Measurer, curve
from manyways.reproduce.records import Records
from manyways.reproduce.tables import rows, write

QUICK = Experiment("circles", "sog-bc", "sog-bc", 0, {"iterations": 3})
EXPERT = Experiment("circles", "expert", "expert", 0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    monkeypatch.setenv("MANYWAYS_CACHE", str(cache))
    monkeypatch.setitem(LISTS, "table1", lambda: [EXPERT, QUICK])
    monkeypatch.setattr(experiments, "SEEDS", (0,))


@pytest.fixture(scope="module")
def measured(tmp_path_factory, cache):
    """Return the folder of the results and that of the runs, with both of the list made."""
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MANYWAYS_CACHE", str(cache))
        outcomes = list(run_all([EXPERT, QUICK], Measurer(folder / "results", folder / "runs", episodes=3)))
    assert [outcome.error for outcome in outcomes] == ["", ""]
    return folder / "results", folder / "runs"


def copied(measured, tmp_path, change=lambda result: result):
    """Return a folder with the same results, one of them changed."""
    for each in (EXPERT, QUICK):
        result = read_json(Records(measured[0]).file(each))
        write_json(Records(tmp_path).file(each), change(result) if each is QUICK else result)
    return Records(tmp_path)


def test_the_lists_have_every_cell_of_the_paper_on_four_seeds():
    whole = [*experiments.table1(), *experiments.table2(), *experiments.table3()]
    cells = Counter((each.task, each.label) for each in whole)
    for task in (*paper.TABLE_1, "fetch-reach", "halfcheetah-vel"):
        for label in ("expert", PAPER_LABEL, *paper.ALGORITHMS):
            assert cells[task, label] == len(experiments.SEEDS)
    places = [each.place for each in whole]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("name", ["table2", "table3", "figure7"])
def test_every_experiment_can_be_built_with_its_settings(name):
    for each in LISTS[name]():
        if each.algorithm != "expert":
            settings = each.algorithm_settings()
            assert settings.seed == each.seed
            assert getattr(settings, "total_steps", STEPS) == STEPS
            if each.label == PAPER_LABEL:
                assert (settings.init, settings.search.near, settings.search.block) == ("random", "prior", 1)
    with pytest.raises(InputError, match="sog-bc cannot have the settings"):
        Experiment("circles", "sog-bc", "x", 0, {"magic": 1}).algorithm_settings()


def test_a_list_is_filtered_and_has_other_seeds():
    chosen = select(experiments.table1(), ["circles"], ["sog-gail"], [7, 8])
    assert [each.place.as_posix() for each in chosen] == ["circles/sog-gail/seed-7", "circles/sog-gail/seed-8"]
    with pytest.raises(InputError, match="there is no row 'sog' in this list; give some of expert, sog-bc"):
        select(experiments.table1(), labels=["sog"])


def test_a_result_has_its_curve_and_where_it_comes_from(measured):
    record = Records(measured[0]).record(QUICK)
    assert record.kind == "done"
    assert (
        record.result["provenance"]["data"]
        == read_json(measured[1] / QUICK.place / "config.json")["provenance"]["data"]
    )
    assert [point["iteration"] for point in record.result["curve"]][-1] == 3
    assert len(curve([{"iteration": step, "loss": 1.0} for step in range(1000)])) <= 101


def test_the_policy_of_seed_0_is_kept_beside_the_results(measured):
    kept = manyways.Policy.load(Records(measured[0]).policy("circles", "sog-bc"))
    trained = manyways.Run.open(measured[1] / QUICK.place).policy()
    observation = np.ones(trained.observation_space.shape, np.float32)
    for code in range(3):
        actions = [one.predict(observation, one.code(code), deterministic=True)[0] for one in (kept, trained)]
        assert np.array_equal(*actions)


def test_what_is_finished_is_not_made_again(measured, command):
    results, runs = measured
    file = Records(results).file(QUICK)
    before = file.stat().st_mtime_ns
    code, printed, _ = command("reproduce", "table1", "--results", results, "--runs", runs, "--episodes", 3)
    assert code == 0
    assert "2 done" in printed
    assert file.stat().st_mtime_ns == before
    written = read_json(results / "table1.json")
    row = next(row for row in written["rows"] if row["algorithm"] == "sog-bc")
    assert row["return_mean"] == read_json(file)["return_mean"]
    assert row["seeds"] == [0]
    assert row["paper_return_mean"] == 992.1
    assert written["provenance"]["commit"]


def test_a_dry_run_tells_and_writes_nothing(measured, tmp_path, command):
    copied(measured, tmp_path, lambda result: result | {"wall_seconds": 7000})
    before = sorted(tmp_path.rglob("*"))
    code, printed, _ = command("reproduce", "table1", "--results", tmp_path, "--dry-run", "--seeds", 0, 5)
    assert code == 0
    assert "circles, sog-bc, seed 5: missing, 1.9 h" in printed
    assert "2 done, 2 missing" in printed
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        (lambda result: [], "broken", "holds no result"),
        (lambda result: {**result, "return_mean": None}, "broken", "it has no return_mean"),
        (lambda result: {**result, "seed": 3}, "broken", "of the seed 3"),
        (lambda result: {**result, "provenance": None}, "stale", "does not say where it comes from"),
        (lambda result: {**result, "provenance": {**result["provenance"], "expert": "x"}}, "stale", "another expert"),
        (
            lambda result: {**result, "provenance": {**result["provenance"], "data": "x"}},
            "stale",
            "other demonstrations",
        ),
        (lambda result: {**result, "settings": {"iterations": 9}}, "stale", "with iterations 9, not 3"),
    ],
)
def test_what_is_broken_or_stale_is_found(measured, tmp_path, change, kind, reason):
    record = copied(measured, tmp_path, change).record(QUICK)
    assert record.kind == kind
    assert reason in record.reason
    assert (record.result is None) == (kind == "broken")


def test_a_file_that_is_no_json_is_broken_and_made_again_only_when_asked(measured, tmp_path, command):
    records = copied(measured, tmp_path / "results")
    records.file(QUICK).write_text("{")
    where = ("--results", tmp_path / "results", "--runs", measured[1], "--episodes", 3)
    code, printed, _ = command("reproduce", "table1", *where)
    assert code == 0
    assert "sog-bc, seed 0: broken" in printed
    assert records.file(QUICK).read_text() == "{"
    assert rows("table1", records)[1]["missing_seeds"] == [0]
    assert command("reproduce", "table1", *where, "--redo-stale")[0] == 0
    assert records.record(QUICK).kind == "done"


def test_a_stale_result_is_made_again_in_a_new_run(measured, tmp_path):
    def older(result):
        return result | {"provenance": result["provenance"] | {"data": "older"}}

    records, runs = copied(measured, tmp_path / "results", older), tmp_path / "runs"
    config = read_json(measured[1] / QUICK.place / "config.json")
    config["provenance"]["data"] = "older"
    write_json(runs / QUICK.place / "config.json", config)
    assert Measurer(records.folder, runs, 3)(QUICK)["provenance"]["data"] == "older"
    assert Measurer(records.folder, runs, 3, redo=True)(QUICK)["provenance"]["data"] != "older"
    assert records.record(QUICK).kind == "done"
    aside = read_json(runs / QUICK.place.with_name("seed-0-stale-1") / "config.json")
    assert aside["provenance"]["data"] == "older"


def test_the_table_is_rewritten_only_when_its_rows_change(measured, tmp_path):
    records = copied(measured, tmp_path)
    path = write("table1", records)
    content = json.loads(path.read_text()) | {"provenance": "kept"}
    write_json(path, content)
    assert read_json(write("table1", records))["provenance"] == "kept"
    records.file(QUICK).unlink()
    again = read_json(write("table1", records))
    assert again["provenance"] != "kept"
    assert again["rows"][1]["return_mean"] is None


def test_demonstrations_of_several_machines_stand_side_by_side_until_their_makers_change(tmp_path):
    records = Records(tmp_path)
    for _ in range(2):
        records.note_demonstrations("circles", "of one machine")
    records.note_demonstrations("circles", "of another one")
    assert records.demonstrations("circles") == ["of one machine", "of another one"]
    content = read_json(tmp_path / "demonstrations.json")
    write_json(tmp_path / "demonstrations.json", content | {"made_by": {"circles": "another expert"}})
    records.note_demonstrations("circles", "new ones")
    assert records.demonstrations("circles") == ["new ones"]


def test_times_follow_the_environment_steps(tmp_path):
    records = Records(tmp_path)
    long = Experiment("circles", "sog-gail", "sog-gail-10m", 0, {"total_steps": 10_000_000})
    assert records.seconds(long) is None
    write_json(tmp_path / "ant-dir-6/sog-gail/seed-1.json", {"environment_steps": 1_000_000, "wall_seconds": 60})
    assert records.seconds(long) == 600
    write_json(tmp_path / "circles/sog-gail/seed-1.json", {"environment_steps": 500_000, "wall_seconds": 10})
    assert records.seconds(long) == 200
    other = Experiment("circles", "infogail", "infogail", 0, {"total_steps": 1_000_000})
    write_json(tmp_path / "ant-dir-6/infogail/seed-0.json", {"environment_steps": 1_000_000, "wall_seconds": 90})
    assert records.seconds(other) == 30  # a third of the time on the ant, as of SOG-GAIL


def test_what_fails_does_not_stop_the_others(tmp_path, command):
    (tmp_path / "runs/circles/sog-bc").mkdir(parents=True)
    (tmp_path / "runs/circles/sog-bc/seed-0").write_text("no folder")
    where = ("--results", tmp_path / "results", "--runs", tmp_path / "runs", "--episodes", 3)
    code, printed, error = command("reproduce", "table1", *where, "--seeds", 0)
    assert code == 2
    assert "1 of 2 experiments failed; the first, circles, sog-bc, seed 0" in error
    assert error.count("\n") == 1
    assert "1 of 2: circles, expert, seed 0:" in printed
    assert read_json(tmp_path / "results" / "table1.json")["rows"][0]["seeds"] == [0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tasks", "squares"), "there is no task 'squares'"),
        (("--jobs", 0), "jobs is 0"),
        (("--seeds", -1), "the seeds are -1"),
        (("--results", __file__), "is a file; give the folder"),
    ],
)
def test_bad_input_is_one_sentence(command, arguments, words):
    code, _, error = command("reproduce", "table1", "--dry-run", *arguments)
    assert code == 2
    assert words in error
    assert error.count("\n") == 1


def test_several_jobs_make_the_same_as_one(measured, tmp_path):
    pair = [EXPERT, Experiment("circles", "expert", "expert", 1)]
    outcomes = list(run_all(pair, Measurer(tmp_path / "results", tmp_path / "runs", 3), jobs=2))
    assert sorted(outcome.experiment.seed for outcome in outcomes) == [0, 1]
    own, before = (Records(folder).record(EXPERT).result for folder in (tmp_path / "results", measured[0]))
    assert own["return_mean"] == before["return_mean"]
