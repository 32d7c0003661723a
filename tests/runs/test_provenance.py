import sys
from dataclasses import replace

import numpy as np

import manyways
from manyways.runs.provenance import command_line, data_fingerprint, expert_fingerprint, provenance
from manyways.tasks import get_task
from manyways.tasks.expert import Expert


def test_demonstrations_that_differ_have_other_fingerprints(demonstrations):
    arrays = (demonstrations.observations, demonstrations.actions, demonstrations.lengths)
    other = [
        manyways.Demonstrations(arrays[0] + 1, *arrays[1:]),
        manyways.Demonstrations(arrays[0], -arrays[1], arrays[2]),
    ]
    other.append(manyways.Demonstrations({"a": arrays[0]}, *arrays[1:]))
    other.append(manyways.Demonstrations({"b": arrays[0]}, *arrays[1:]))
    fingerprints = [data_fingerprint(each) for each in (demonstrations, *other)]
    assert len(set(fingerprints)) == 5
    assert data_fingerprint(manyways.Demonstrations(*(array.copy() for array in arrays))) == fingerprints[0]


def test_an_expert_is_known_by_its_weights_or_its_code():
    cheetah, circles = get_task("halfcheetah-fwd-back"), get_task("circles")
    expert = cheetah.trained_expert
    layers = {name: layer + (name == "weight.0") for name, layer in expert.layers.items()}
    other = cheetah.with_expert(Expert(layers, expert.card))
    fingerprints = {expert_fingerprint(task) for task in (cheetah, circles, other)}
    assert len(fingerprints) == 3
    assert None not in fingerprints
    assert expert_fingerprint(replace(circles, name="mine", scripted_expert=None)) is None


def test_a_result_names_version_machine_and_command(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/manyways", "evaluate", "my run"])
    found = provenance(seeds=[1, np.int64(2)], budget={"iterations": 3}, data="abc")
    assert found["version"] == manyways.__version__
    assert found["command"] == "manyways evaluate 'my run'"
    assert found["seeds"] == [1, 2]
    assert found["machine"]["cores"] >= 1
    assert found["machine"]["processor"]
    assert found["expert"] is None


def test_a_scripts_command_says_nothing_of_the_machine(monkeypatch, tmp_path):
    (tmp_path / "repository" / ".git").mkdir(parents=True)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "repository" / "benchmarks" / "tables.py"), "circles"])
    assert command_line() == "python benchmarks/tables.py circles"
