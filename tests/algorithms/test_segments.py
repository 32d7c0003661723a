import itertools

import numpy as np
import pytest

import manyways
from manyways import InputError
from manyways.search.segments import best_paths, segments_of


@pytest.fixture(scope="module")
def switching():
    """Two ways to move, left and right of where one is; every second trajectory changes once, the others never."""
    rng = np.random.default_rng(0)
    pairs, truth = [], []
    for number in range(30):
        length = int(rng.integers(40, 60))
        way = np.full(length, number // 2 % 2)
        if number % 2:
            way[int(rng.integers(12, length - 12)) :] ^= 1
        observations = rng.normal(size=(length, 3))
        actions = np.stack([2 * way - 1 + 0.3 * observations[:, 0], observations[:, 1]], axis=1)
        pairs.append((observations, actions + rng.normal(0, 0.15, actions.shape)))
        truth.append(way)
    return manyways.Demonstrations.from_arrays(pairs), truth


@pytest.fixture(scope="module")
def policy(switching):
    settings = manyways.SOGBC(prior=manyways.Categorical(2), segments=True, iterations=150, hidden=32)
    return settings.fit(switching[0])


def test_the_best_path_is_the_best_of_all_paths():
    rng = np.random.default_rng(1)
    for _ in range(20):
        codes, lengths, price = int(rng.integers(1, 4)), rng.integers(2, 7, 4), 0.5 * rng.random()
        losses = rng.random((lengths.sum(), codes))
        found = best_paths(losses, lengths, price)
        for first, length in zip(np.cumsum(lengths) - lengths, lengths, strict=True):
            rows = np.arange(first, first + length)

            def cost(path, rows=rows, losses=losses, price=price):
                return losses[rows, path].sum() + price * np.count_nonzero(np.diff(path))

            least = min(cost(np.array(path)) for path in itertools.product(range(codes), repeat=length))
            assert cost(found[rows]) == pytest.approx(least)


def test_stretches_of_a_path():
    assert segments_of(np.array([1, 1, 0, 0, 0, 2])) == [(0, 2, 1), (2, 5, 0), (5, 6, 2)]


def test_changes_are_found_where_they_are_and_nowhere_else(switching, policy):
    demonstrations, truth = switching
    found = policy.segments(demonstrations)
    changes = [[last for _, last, _ in each[:-1]] for each in found]
    expected = [(np.flatnonzero(np.diff(way)) + 1).tolist() for way in truth]
    assert [len(each) for each in changes] == [len(each) for each in expected]
    assert (
        max(abs(a - b) for one, two in zip(changes, expected, strict=True) for a, b in zip(one, two, strict=True)) <= 1
    )


def test_each_code_is_one_way(policy):
    first = [policy.with_code(code).predict(np.zeros(3), deterministic=True)[0][0] for code in (0, 1)]
    assert sorted(np.sign(first).tolist()) == [-1, 1]
    assert min(map(abs, first)) > 0.7


def test_how_codes_follow_each_other(switching, policy):
    changes = sum(len(each) - 1 for each in policy.segments(switching[0]))
    stays = np.diag(policy.switches.transitions)
    np.testing.assert_allclose(policy.switches.transitions.sum(axis=1), 1, rtol=1e-5)
    assert 0.9 < stays.min() < stays.max() < 1
    assert (1 - stays).mean() == pytest.approx(changes / switching[0].steps, rel=0.3)


def test_a_policy_keeps_its_segments_in_its_files(switching, policy, tmp_path):
    policy.save(tmp_path)
    assert manyways.load_policy(tmp_path).segments(switching[0]) == policy.segments(switching[0])


def test_training_with_segments_goes_on_bit_for_bit(switching):
    settings = manyways.SOGBC(prior=manyways.Categorical(2), segments=True, iterations=40, hidden=16)
    whole, part, rest = (settings.start(switching[0]) for _ in range(3))
    for _ in range(40):
        whole.step()
    for _ in range(23):
        part.step()
    rest.load_state_dict(part.state_dict())
    while not rest.finished:
        rest.step()
    for name, value in whole.state_dict().items():
        assert value.equal(rest.state_dict()[name]), name


def test_labels_hold_for_all_steps(switching):
    demonstrations, _ = switching
    labelled = demonstrations.with_labels({0: 1, 1: 0})
    settings = manyways.SOGBC(prior=manyways.Categorical(2), segments=True, iterations=60, hidden=16)
    training = settings.start(labelled)
    while not training.finished:
        training.step()
    assert training.policy().counts[1] > 0
    own = training.demonstrations
    for place in np.flatnonzero(own.labels >= 0):
        rows = slice(own.starts[place], own.starts[place] + own.lengths[place])
        assert (training._path[rows] == int(own.labels[place])).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"prior": manyways.Gaussian(1)}, "a list of modes"), ({"details": 4}, "details is 4")],
)
def test_settings_that_exclude_segments(switching, changes, words):
    settings = manyways.SOGBC(**({"prior": manyways.Categorical(2), "segments": True} | changes))
    with pytest.raises(InputError, match=words):
        settings.start(switching[0])


def test_a_policy_without_segments_says_so(switching):
    policy = manyways.SOGBC(prior=manyways.Categorical(2), iterations=5, hidden=8).fit(switching[0])
    with pytest.raises(InputError, match="--segments"):
        policy.segments(switching[0])


def test_modes_and_report_show_segments(switching, tmp_path):
    from manyways.visual.report import report

    switching[0].save(tmp_path / "data.npz")
    settings = manyways.SOGBC(segments=True, iterations=60, hidden=16)
    run = manyways.train(settings, tmp_path / "run", data=tmp_path / "data.npz", modes=2, loggers=())
    found = manyways.modes(run)
    assert len(found.segments) == len(switching[0])
    assert found.to_json()["segments"] == found.segments
    assert "Codes over the steps" in report(run).read_text()


def test_training_goes_on_from_a_policy_with_segments(switching, policy, demonstrations):
    data, _ = switching
    training = manyways.SOGBC(segments=True, prior=policy.prior, iterations=20, hidden=32, horizon=1).start(data)
    training.start_from(policy)
    before, first = policy.segments(data), training.policy().segments(data)
    assert sum(a == b for a, b in zip(before, first, strict=True)) >= 28
    later = manyways.SOGBC(segments=True, iterations=20).fit(data, init=policy).segments(data)
    same = [[code for *_, code in a] == [code for *_, code in b] for a, b in zip(before, later, strict=True)]
    assert sum(same) >= 27
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=2, hidden=32, history=1, horizon=1)
    with pytest.raises(InputError, match="cannot start segments; leave out --segments"):
        manyways.SOGBC(segments=True, iterations=20).fit(demonstrations, init=settings.fit(demonstrations))
