import numpy as np
import pytest

import manyways
from manyways import InputError, NovelObservationError, Policy


def two_modes(trajectories, seed):
    rng = np.random.default_rng(seed)
    pairs = []
    for trajectory in range(trajectories):
        observations = rng.normal(size=(rng.integers(20, 60), 3)).astype(np.float32)
        sign = 1 if trajectory % 2 else -1
        pairs.append((observations, np.stack([sign + 0.3 * observations[:, 0], observations[:, 1]], axis=1)))
    return manyways.Demonstrations.from_arrays(pairs)


@pytest.fixture(scope="module")
def data():
    return two_modes(160, seed=3)


@pytest.fixture(scope="module")
def known(data):
    return manyways.SOGBC(prior=manyways.Categorical(2), iterations=60, hidden=16).fit(data)


def observations_of(demonstrations):
    return np.concatenate([demonstrations[i][0] for i in range(len(demonstrations))])


def test_what_was_demonstrated_is_usual_and_what_is_far_is_not(known, data):
    assert np.median(known.novelty(observations_of(data)[:2000])) < 0.6
    assert known.novelty(np.full(3, 30.0)) == 1
    assert known.novelty(np.array([0.0, 0.0, 8.0])) == 1
    assert known.novelty(np.zeros(3)) < 0.9
    assert isinstance(known.novelty(np.zeros(3)), float)


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_false_alarms_are_as_rare_as_was_asked(known, level):
    fresh = observations_of(two_modes(400, seed=77))
    alarms = (known.novelty(fresh) >= level).mean()
    assert alarms == pytest.approx(1 - level, rel=0.35, abs=0.002)


def test_few_trajectories_are_measured_against_each_other():
    few = two_modes(12, seed=1)
    policy = manyways.SOGBC(prior=manyways.Categorical(2), iterations=20, hidden=8).fit(few)
    fresh = observations_of(two_modes(200, seed=9))
    assert (policy.novelty(fresh) >= 0.9).mean() == pytest.approx(0.1, abs=0.06)
    assert policy.novelty(np.full(3, 20.0)) == 1


def test_a_guard_warns_or_refuses_and_is_off_by_default(known, data):
    policy = known.with_code(0)
    far, near = np.full(3, 50.0), observations_of(data)[0]
    policy.predict(far, deterministic=True)
    policy.guard("warn", 0.99)
    with pytest.warns(UserWarning, match="farther from the demonstrations than 100.0% of demonstrated ones"):
        policy.predict(far)
    policy.guard("refuse", 0.99)
    with pytest.raises(NovelObservationError, match="of environment 1 is farther"):
        policy.predict(np.stack([near, far]))
    policy.predict(near)
    policy.guard("off")
    policy.predict(far)


def test_a_guard_holds_on_the_fast_path_too(known):
    state, far = known.code(0), np.full(3, 50.0, np.float32)
    known.predict(np.zeros(3, np.float32), state, deterministic=True)
    known.guard("refuse")
    try:
        with pytest.raises(NovelObservationError):
            known.predict(far, state, deterministic=True)
    finally:
        known.guard("off")
    known.predict(far, state, deterministic=True)
    assert known._quick


def test_it_is_kept_in_the_file(known, data, tmp_path):
    known.save(tmp_path)
    some = observations_of(data)[:100]
    np.testing.assert_array_equal(Policy.load(tmp_path).novelty(some), known.novelty(some))


def test_dictionaries_plans_and_policies_without_codes_have_it(data):
    pairs = [({"a": data[i][0], "b": data[i][0][:, :1]}, data[i][1]) for i in range(40)]
    dictionary = manyways.Demonstrations.from_arrays(pairs)
    policy = manyways.SOGBC(prior=manyways.Categorical(2), iterations=10, hidden=8, history=2, horizon=4).fit(
        dictionary
    )
    assert policy.novelty({"a": np.full(3, 50.0), "b": np.zeros(1)}) == 1
    assert manyways.MDN(iterations=5, hidden=8).fit(data).novelty(np.full(3, 50.0)) == 1


def test_where_nothing_could_be_measured_a_sentence_says_so(data):
    single = manyways.BC(iterations=5, hidden=8).fit(data.select(np.array([0])))
    for ask in (lambda: single.novelty(np.zeros(3)), lambda: single.guard("warn")):
        with pytest.raises(InputError, match="does not know how far an observation may be"):
            ask()
    single.guard("off")


@pytest.mark.parametrize(("action", "level"), [("stop", 0.9), ("warn", 0), ("refuse", 1.5)])
def test_an_unknown_guard_is_refused(known, action, level):
    with pytest.raises(InputError, match="is unknown; give warn, refuse or off"):
        known.guard(action, level)


def test_references_are_bounded():
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(500, 400)), rng.normal(size=(500, 2))) for _ in range(24)]
    training = manyways.MDN(iterations=1, hidden=8).start(manyways.Demonstrations.from_arrays(pairs))
    novelty = training.measure_novelty(training.network)
    assert novelty.references.shape == (512, 400)
    assert len(novelty.distances) <= 1001
    assert (np.diff(novelty.distances) >= 0).all()
