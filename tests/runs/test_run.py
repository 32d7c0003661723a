import json

import pytest

import manyways
from manyways import InputError
from manyways.runs.provenance import data_fingerprint
from manyways.runs.run import Run


def settings(**changes):
    return manyways.SOGBC(**({"prior": manyways.Categorical(2), "iterations": 120, "hidden": 16} | changes))


def config(demonstrations, **changes):
    chosen = settings(**changes)
    return {
        "algorithm": chosen.name,
        "settings": chosen.to_json(),
        "task": None,
        "weights": None,
        "data": "memory.npz",
        "mode_count": None,
        "provenance": {"data": data_fingerprint(demonstrations), "command": "manyways train"},
    }


def create(path, demonstrations, **changes):
    return Run.create(path, config(demonstrations, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "is a run with seed 0, not 1; go on with the same, or give another folder"),
        ({"hidden": 8}, "is a run with hidden 16, not 8"),
        ({"prior": manyways.Categorical(3)}, "is a run with prior 2 codes, not 3 codes"),
    ],
)
def test_a_run_of_other_settings_is_not_touched(tmp_path, demonstrations, changes, message):
    create(tmp_path / "run", demonstrations)
    with pytest.raises(InputError, match=message):
        create(tmp_path / "run", demonstrations, **changes)


def test_a_run_on_other_data_is_not_touched(tmp_path, demonstrations):
    create(tmp_path / "run", demonstrations)
    other = manyways.Demonstrations(demonstrations.observations + 1, demonstrations.actions, demonstrations.lengths)
    with pytest.raises(InputError, match="is a run on other data"):
        create(tmp_path / "run", other)


def test_a_folder_of_something_else_is_not_touched(tmp_path, demonstrations):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds something else \(thesis\.txt\); give a new or empty folder"):
        create(tmp_path, demonstrations)
    with pytest.raises(InputError, match="is a file; give a folder"):
        create(tmp_path / "thesis.txt", demonstrations)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_demonstrations_may_lie_in_the_runs_folder(tmp_path, demonstrations):
    demonstrations.save(tmp_path / "run" / "demonstrations")
    create(tmp_path / "run", demonstrations)


def test_a_run_killed_while_it_was_created_can_be_started_again(tmp_path, demonstrations):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.999999999.partial").write_text("{")
    create(tmp_path / "run", demonstrations)
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["config.json"]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not the folder of a run \(it has no config\.json\)"):
        Run.open(tmp_path)


def test_a_run_that_is_not_finished_has_no_policy(tmp_path, demonstrations):
    run = create(tmp_path / "run", demonstrations)
    with pytest.raises(InputError, match="has no policy yet; run the same `manyways train` again"):
        run.policy()
    with pytest.raises(InputError, match=r"metrics\.jsonl does not exist"):
        run.metrics()


def test_a_config_of_other_fields_is_refused(tmp_path, demonstrations):
    run = create(tmp_path / "run", demonstrations)
    read = json.loads((run.path / "config.json").read_text())
    for broken in ([], read | {"settings": 3}, {"format": 2}):
        (run.path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(InputError, match=r"config\.json is damaged"):
            Run.open(run.path)
    (run.path / "config.json").write_text(json.dumps(read | {"format": 3}))
    with pytest.raises(InputError, match="has format 3; this version reads 2"):
        Run.open(run.path)
