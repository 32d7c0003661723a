"""What the gates say, by closed forms."""

import copy

import numpy as np
import pytest
import torch

import manyways
from manyways.policies.gates import Gates, entropy, information, what_gates_say
from manyways.policies.start_gate import StartGate


def test_entropy_and_information_are_those_of_textbooks():
    np.testing.assert_allclose(entropy(np.array([[0.5, 0.5], [1.0, 0.0]])), [np.log(2), 0])
    assert information(np.array([[1.0, 1.0], [3.0, 3.0]])) == pytest.approx(0)  # independent
    assert information(np.diag([2.0, 2.0])) == pytest.approx(np.log(2))  # each says the other


@pytest.fixture
def detailed(demonstrations):
    settings = {"prior": manyways.Categorical(2), "iterations": 40, "hidden": 16, "history": 1, "horizon": 2}
    return manyways.SOGBC(details=3, **settings).fit(demonstrations)


def set_gate(policy, weight):
    """Make the gate's logits `weight` (details, codes) times the code, whatever is seen."""
    with torch.no_grad():
        gate = policy.network.gate
        for layer in (gate.state, gate.code, gate.output):
            layer.weight.zero_()
            layer.bias.zero_()
        gate.code.weight[:2] = 20 * torch.eye(2)  # SiLU keeps it
        gate.output.weight[:, :2] = torch.as_tensor(weight, dtype=torch.float32) / 20


def test_details_of_its_own_are_information_about_the_code(detailed, demonstrations):
    codes = np.arange(24) % 2
    set_gate(detailed, np.zeros((3, 2)))
    same = what_gates_say(detailed, demonstrations, codes)
    assert same.detail_entropy == pytest.approx(np.log(3), rel=1e-5)
    assert same.code_detail_information == pytest.approx(0, abs=1e-6)
    set_gate(detailed, [[50, 0], [0, 50], [0, 0]])
    own = what_gates_say(detailed, demonstrations, codes, codes)
    steps = [demonstrations.lengths[codes == code].sum() / demonstrations.steps for code in (0, 1)]
    assert own.detail_entropy == pytest.approx(0, abs=1e-6)
    assert own.code_detail_information == pytest.approx(-sum(s * np.log(s) for s in steps), rel=1e-5)
    assert (own.purity, own.purity_with_details) == (1, 1)


def test_a_code_that_means_two_modes_under_its_details_shows_in_the_purity(detailed, demonstrations, labels):
    with torch.no_grad():
        gate = detailed.network.gate
        for layer in (gate.state, gate.code, gate.output):
            layer.weight.zero_()
            layer.bias.zero_()
        gate.output.bias[1] = 5
    all_one = np.zeros(24, int)
    found = what_gates_say(detailed, demonstrations, all_one, labels)
    most = max(demonstrations.lengths[labels == label].sum() for label in (0, 1)) / demonstrations.steps
    assert found.purity == found.purity_with_details == pytest.approx(most)
    unknown = np.where(np.arange(24) < 12, labels, -1)
    assert what_gates_say(detailed, demonstrations, all_one, unknown).purity == pytest.approx(
        max(demonstrations.lengths[unknown == label].sum() for label in (0, 1)) / demonstrations.lengths[:12].sum()
    )
    assert what_gates_say(detailed, demonstrations, all_one, np.full(24, -1)).purity is None


def test_the_start_leaves_open_what_it_does_not_say(policy, demonstrations):
    policy = copy.copy(policy)
    policy.start_gate = StartGate(np.zeros((3, 2), np.float32), np.zeros(2, np.float32))
    found = what_gates_say(policy, demonstrations, np.arange(24) % 2)
    assert found.start_entropy == pytest.approx(np.log(2))
    assert found.to_json().keys() == {"details", "codes", "start_entropy"}
    assert found.sentence() == "gates: the first observation leaves 0.69 of at most 0.69 nats of the code open"
    single = manyways.BC(iterations=2, hidden=8).fit(demonstrations)
    assert what_gates_say(single, demonstrations, np.zeros(24, int)) is None


def test_all_of_it_is_one_line():
    line = Gates(8, 0.5, 0.25, 3, 1.0, 0.9, 0.95).sentence()
    assert line.startswith("gates: a detail's entropy where it is chosen is 0.50 of at most 2.08 nats; ")
    assert "code and detail share 0.25; purity of steps 0.900 by code, 0.950 by code and detail; the first" in line
    assert "\n" not in line
