import numpy as np
import pytest

import manyways
from manyways.demonstrations.differences import distinguishing
from manyways.demonstrations.suspects import find_suspects


def waves(count=20, steps=40, seed=0):
    """Return pairs of smooth paths, each with a phase of its own, whose actions keep within their range."""
    rng = np.random.default_rng(seed)
    pairs = []
    for phase in rng.uniform(0, 2 * np.pi, count):
        angle = phase + np.linspace(0, 3, steps)
        states = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        pairs.append((states, np.gradient(states, axis=0) + 0.01 * rng.normal(size=states.shape)))
    return pairs


def kinds(pairs, losses=None):
    found = find_suspects(manyways.Demonstrations.from_arrays(pairs), losses)
    assert all(suspect.score >= 1 for suspect in found)
    return {(suspect.trajectory, suspect.kind): suspect.reason for suspect in found}


def test_ordinary_trajectories_are_not_suspect():
    assert kinds(waves(), np.linspace(0.9, 1.1, 20)) == {}


def test_a_pause_is_told_with_its_place():
    pairs = waves()
    pairs[3] = tuple(
        np.concatenate([array[:10], np.repeat(array[10:11], 30, axis=0), array[10:]]) for array in pairs[3]
    )
    assert kinds(pairs) == {(3, "stall"): "hardly moves for 30 of 69 steps, from step 10"}


def test_a_jump_is_told_with_its_column():
    pairs = waves()
    pairs[4][0][25:, 1] += 4
    reason = kinds(pairs)[4, "jump"]
    assert "after step 24: observations 1 by +4" in reason


def test_the_later_of_two_copies_is_told():
    pairs = waves()
    pairs[9] = (pairs[2][0] + 1e-6, pairs[2][1])
    assert kinds(pairs) == {(9, "duplicate"): "nearly the same as 2"}


def test_actions_at_their_limit_are_told():
    pairs = waves()
    for _, actions in pairs:
        actions[:] = np.clip(actions, -0.07, 0.07)
    pairs[6][1][:, 0] = 0.07
    assert kinds(pairs)[6, "limit"] == "actions 0 is at its least or greatest value in 100% of the steps"


def test_what_no_mode_explains_is_told():
    losses = np.random.default_rng(0).uniform(0.8, 1.2, 20)
    losses[7] = 20
    assert "its loss is" in kinds(waves(), losses)[7, "far"]


def test_what_all_do_is_not_suspect():
    pairs = [(np.repeat(states, 2, axis=0), np.sign(np.repeat(actions, 2, axis=0))) for states, actions in waves()]
    assert kinds(pairs) == {}


def test_losses_must_fit():
    with pytest.raises(manyways.InputError, match="one for each of 20"):
        kinds(waves(), np.ones(3))


@pytest.mark.parametrize(("shape", "discrete"), [((1,), True), ((12, 12, 3), False)])
def test_any_observations_and_actions_are_looked_at(shape, discrete):
    rng = np.random.default_rng(0)
    pairs = [
        (rng.normal(size=(6, *shape)), rng.integers(3, size=6) if discrete else rng.normal(size=(6, 2)))
        for _ in range(8)
    ]
    assert kinds([*pairs, pairs[0]])[8, "duplicate"] == "nearly the same as 0"
    demonstrations = manyways.Demonstrations.from_arrays(pairs)
    assert len(distinguishing(demonstrations, np.arange(8) % 2, 3)) == 3


def test_constant_data_have_no_suspects_but_copies():
    found = kinds([(np.ones((4, 1)), np.ones((4, 1))) for _ in range(6)])
    assert {kind for _, kind in found} == {"duplicate"}


def test_a_mode_is_described_in_words_of_columns():
    rng = np.random.default_rng(0)
    pairs = []
    for place in range(20):
        steps = 60 if place % 2 else 30
        time = np.linspace(0, 1, steps)
        bump = np.exp(-(((time - 1 / 3) / 0.1) ** 2)) * (0.2 if place % 2 else 0.0)
        pairs.append((np.stack([time, bump + 0.01 * rng.normal(size=steps)], 1), 0.1 * rng.normal(size=(steps, 1))))
    demonstrations = manyways.Demonstrations.from_arrays(pairs)
    low, high, unused = distinguishing(demonstrations, np.arange(20) % 2, 3)
    assert high[0] == "observations 1 higher by 0.2 at a third of the way"
    assert low[0] == "observations 1 lower by 0.2 at a third of the way"
    assert high[-1] == "longer by 30 steps (60 and 30)"
    assert unused == []


def test_what_is_left_of_a_file_without_identities_keeps_its_place(tmp_path):
    manyways.Demonstrations.from_arrays(waves(4)).save(tmp_path / "data.npz")
    assert manyways.Demonstrations.load(tmp_path / "data.npz").identities is None
    assert manyways.Demonstrations.load(tmp_path / "data.npz", exclude=["1"]).identities == ("0", "2", "3")
