import json
import warnings

import numpy as np
import pytest

import manyways
from manyways.demonstrations import Edits, Selection

GOOD = {"names": {"0": "over"}, "exclude": ["3"], "labels": {"4": 1}, "anchors": {"5": 0, "3": 0}}


def test_a_file_comes_back_as_it_was(tmp_path):
    (tmp_path / "edits.json").write_text(json.dumps(GOOD))
    edits = Edits.read(tmp_path / "edits.json")
    assert edits == Edits({0: "over"}, ("3",), {"4": 1}, {"5": 0, "3": 0})
    assert edits.to_json() == GOOD
    assert Edits.read({}) == Edits()


def test_labels_stand_over_anchors_and_what_is_excluded_is_no_anchor():
    assert Edits({}, ("a",), {"b": 1}, {"a": 0, "b": 0, "c": 0}).known == {"b": 1, "c": 0}


@pytest.mark.parametrize(
    ("edits", "overruled"),
    [
        ({"labels": {"demo_2": 2}, "anchors": {"demo_35": 0}, "same": [["demo_2", "demo_35"]]}, ["demo_35"]),
        ({"labels": {"demo_2": 0}, "anchors": {"demo_35": 0}, "same": [["demo_2", "demo_35"]]}, []),
        ({"labels": {"demo_2": 0}, "anchors": {"demo_35": 0}, "different": [["demo_2", "demo_35"]]}, ["demo_35"]),
        ({"labels": {"demo_2": 1}, "anchors": {"demo_2": 0, "demo_3": 0}}, ["demo_2"]),
        ({"anchors": {"a": 0, "b": 1}, "same": [["a", "b"]]}, ["b"]),
        ({"anchors": {"a": 0, "b": 0, "c": 0}, "different": [["a", "b"]]}, ["b"]),
    ],
)
def test_an_anchor_against_labels_and_pairs_is_named(tmp_path, edits, overruled):
    (tmp_path / "edits.json").write_text(json.dumps(edits))
    for source in (edits, tmp_path / "edits.json", Edits.from_json(edits, "it")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Edits.read(source)
        for warned, name in zip(caught, overruled, strict=True):
            assert f"has {name!r} among its anchors, with code {edits['anchors'][name]}" in str(warned.message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "holds a list"),
        ("{", "edits.json"),
        ('{"name": {}}', "has a field 'name'"),
        ('{"names": ["over"]}', "must be an object"),
        ('{"exclude": {"a": 1}}', "must be a list"),
        ('{"exclude": [3]}', "has 3; give identities as texts"),
        ('{"labels": {"a": "1"}}', "gives 'a' the label '1'"),
        ('{"labels": {"a": true}}', "the label True"),
        ('{"labels": {"a": 1.5}}', "the label 1.5"),
        ('{"labels": {"a": -1}}', "the code -1; codes begin with 0"),
        ('{"names": {"first": "over"}}', "has 'first'; give the number of a code"),
        ('{"names": {"0": 7}}', "the name of code 0"),
        ('{"labels": {"a": 1}, "exclude": ["a"]}', "both label and exclude 'a'"),
        ('{"same": [["a", "b"]], "exclude": ["b"]}', "both pair and exclude 'b'"),
        ('{"same": [["a"]]}', "give pairs of identities"),
        ('{"different": [["a", 3]]}', "give pairs of identities"),
        ('{"different": {"a": "b"}}', "it must be a list"),
        ('{"labels": {"a": 1, "c": 0}, "same": [["a", "b"], ["b", "c"]]}', "'a' and 'c' as the same way, but label"),
        ('{"labels": {"a": 1, "c": 1}, "different": [["a", "c"]]}', "'a' and 'c' as different ways, but give both"),
        (
            '{"labels": {"a": 1, "c": 1}, "different": [["a", "b"]], "same": [["b", "c"]]}',
            "'b' as different .*label 1",
        ),
        (
            '{"same": [["a", "b"], ["b", "c"]], "different": [["a", "c"]]}',
            "'c' as different ways, but also",
        ),
    ],
)
def test_a_bad_file_is_told_in_one_sentence(tmp_path, text, message):
    (tmp_path / "edits.json").write_text(text)
    with pytest.raises(manyways.InputError, match=message):
        Edits.read(tmp_path / "edits.json")


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(manyways.InputError, match="there is no file"):
        Edits.read(tmp_path / "edits.json")


def test_codes_must_be_there():
    with pytest.raises(manyways.InputError, match="label '4' with code 1, but there are 1 codes"):
        Edits.read(GOOD).require_codes(1)
    with pytest.raises(manyways.InputError, match="name code 2"):
        Edits({2: "x"}).require_codes(2)
    with pytest.raises(manyways.InputError, match="continuous"):
        Edits({2: "x"}).require_codes(None)
    Edits.read(GOOD).require_codes(2)


def test_demonstrations_in_memory_are_edited_by_their_places(demonstrations):
    edits = Edits.read(GOOD)
    kept = edits.labelled(edits.without_excluded(demonstrations))
    assert kept.identities[:4] == ("0", "1", "2", "4")
    assert np.flatnonzero(kept.labels >= 0).tolist() == [3, 4]
    assert kept.labels[3:5].tolist() == [1, 0]
    assert edits.selecting(Selection(exclude=("9", "3"))).exclude == ("9", "3")
    with pytest.raises(manyways.InputError, match="label 'nobody', which is not among"):
        Edits(labels={"nobody": 0}).labelled(demonstrations)
    with pytest.raises(manyways.InputError, match="no episode 'nobody' to exclude"):
        Edits(exclude=("nobody",)).without_excluded(demonstrations)


def train(out, demonstrations, edits, **changes):
    settings = manyways.SOGBC(iterations=40, hidden=16, **changes)
    return manyways.train(settings, out, data=demonstrations, modes=2, edits=edits)


def test_training_takes_edits_and_its_commands_remember_them(tmp_path, demonstrations, command):
    demonstrations.save(tmp_path / "data.npz")
    path = tmp_path / "edits.json"
    path.write_text(json.dumps({"names": {"1": "over"}, "exclude": ["3"], "labels": {"0": 1, "2": 1, "5": 0}}))
    arguments = ("train", tmp_path / "data.npz", "--modes", 2, "--iterations", 40, "--hidden", 16, "--edits", path)
    code, _, errors = command(*arguments, "--out", tmp_path / "run")
    assert code == 0, errors
    run = manyways.Run.open(tmp_path / "run")
    assert run.policy().names == {1: "over"}
    assert sum(run.policy().counts) == len(demonstrations) - 1
    assert run.selection.exclude == ("3",)
    found = manyways.modes(run)
    assert "3" not in found.identities
    assert found.codes[found.identities.index("2")] == 1  # and with it all of its kind
    assert found.codes[found.identities.index("5")] == 0
    written = json.loads((run.path / "modes.json").read_text())
    assert written["provenance"]["data"] == run.config["provenance"]["data"]
    assert written["suspects"] == []
    assert command(*arguments, "--out", tmp_path / "run")[0] == 0  # goes on, where there is nothing to do
    path.write_text(json.dumps({"exclude": ["4"]}))
    code, _, errors = command(*arguments, "--out", tmp_path / "run")
    assert code == 2
    assert "is a run on other data" in errors


def test_a_name_that_was_given_after_training_stays(tmp_path, demonstrations):
    run = train(tmp_path, demonstrations, {"names": {"0": "over"}})
    run.set_names({0: "below", 1: "over"})
    assert train(tmp_path, demonstrations, {"names": {"0": "over"}}).names == {0: "below", 1: "over"}


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"labels": {"0": 2}}, "label '0' with code 2, but there are 2 codes"),
        ({"labels": {"nobody": 0}}, "label 'nobody'"),
        ({"same": [["0", "nobody"]]}, "the edits pair 'nobody', which is not among"),
        ({"exclude": ["nobody"]}, "no episode 'nobody' to exclude"),
        ({"names": {"0": "7"}}, "taken for the index"),
        ({"names": {"0": "a", "1": "a"}}, "has the name 'a' already"),
    ],
)
def test_edits_that_do_not_fit_are_refused_before_training(tmp_path, demonstrations, edits, message):
    with pytest.raises(manyways.InputError, match=message):
        train(tmp_path / "run", demonstrations, edits)
    assert not (tmp_path / "run" / "config.json").exists()


def test_pairs_of_edits_are_kept_in_training_and_in_modes_json(tmp_path, demonstrations, labels):
    demonstrations.save(tmp_path / "data.npz", modes=labels)
    edits = {"same": [["0", "1"]], "different": [["2", "4"]], "anchors": {"0": 0, "1": 1, "3": 1}}
    assert Edits.from_json(edits, "it").to_json() == {"names": {}, "exclude": [], "labels": {}} | edits
    run = train(tmp_path / "run", tmp_path / "data.npz", edits)
    found = manyways.modes(run)  # though 0 and 1 are of different modes, and 2 and 4 of the same
    assert found.codes[0] == found.codes[1]
    assert found.codes[2] != found.codes[4]
    assert found.codes[3] == 1
    written = json.loads((run.path / "modes.json").read_text())
    assert written["codes"] == found.codes.tolist()
    assert written["counts"] == list(run.policy().counts)


def test_with_modes_auto_pairs_and_labels_are_counted_and_there_are_codes_for_all_labels(tmp_path, demonstrations):
    settings = manyways.SOGBC(iterations=5, hidden=8)
    edits = {"different": [["0", "2"], ["2", "4"], ["0", "4"]]}
    run = manyways.train(settings, tmp_path / "run", data=demonstrations, modes="auto", edits=edits)
    assert run.config["mode_count"]["least"] == 3
    assert run.config["settings"]["prior"]["size"] == run.config["mode_count"]["best"] >= 3
    run = manyways.train(settings, tmp_path / "labelled", data=demonstrations, modes="auto", edits={"labels": {"0": 5}})
    assert run.config["mode_count"]["best"] < 6
    assert run.config["settings"]["prior"]["size"] == 6


def test_pairs_of_a_file_are_kept_in_the_modes_of_any_run(tmp_path, demonstrations):
    run = train(tmp_path / "run", demonstrations, {})
    demonstrations.with_pairs(same=[(0, 1)]).save(tmp_path / "paired.npz")
    found = manyways.modes(run, data=tmp_path / "paired.npz")
    assert found.codes[0] == found.codes[1]
    assert found.losses[0].argmin() != found.losses[1].argmin()


def test_edits_replace_labels_of_a_file_and_add_to_its_pairs(demonstrations):
    known = demonstrations.with_labels({0: 0, 5: 1}).with_pairs(same=[(7, 8)])
    edited = Edits(labels={"0": 1}, different=(("8", "9"),)).labelled(known)
    assert edited.labels[[0, 5]].tolist() == [1, 1]
    assert edited.pairs.linked[8] == 7
    assert edited.pairs.different.tolist() == [[7, 9]]


def test_contradictory_edits_are_one_sentence_on_the_command_line(tmp_path, demonstrations, command):
    demonstrations.save(tmp_path / "data.npz")
    (tmp_path / "edits.json").write_text(json.dumps({"different": [["0", "1"], ["1", "2"], ["2", "0"]]}))
    arguments = ("train", "sog-bc", tmp_path / "data.npz", "--modes", 2, "--edits", tmp_path / "edits.json")
    code, _, errors = command(*arguments, "--out", tmp_path / "run")
    assert code == 2
    assert "trajectories 0, 1 and 2 are all different ways, but there are 2 codes" in " ".join(errors.split())
    assert "Traceback" not in errors


def test_an_algorithm_without_codes_takes_the_exclusions_alone(tmp_path, demonstrations):
    run = manyways.train(manyways.BC(iterations=5, hidden=8), tmp_path, data=demonstrations, edits=GOOD)
    assert run.config["edits"]["exclude"] == ["3"]
    assert "selection" not in run.config
