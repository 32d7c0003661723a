from dataclasses import replace

import numpy as np
import pytest

import manyways
from manyways import Demonstrations, Gaussian
from manyways.clustering.competition import find_groups
from manyways.clustering.constraints import Constraints
from manyways.clustering.embedding import Embedding, kernel_mean_embedding
from manyways.clustering.groups import Groups, nats_as_loss
from manyways.clustering.initial_codes import ComponentCodes
from manyways.clustering.mixture import cluster, isolated
from manyways.demonstrations.synthetic import Motions, relations
from manyways.evaluation.metrics import normalized_mutual_information, purity
from manyways.search.factored import trajectory_losses


def nearest_groups(demonstrations, codes, seed):
    return find_groups(demonstrations, codes, seed).relative_nll(demonstrations).argmin(axis=1)


def random_demonstrations(count):
    rng = np.random.default_rng(0)
    return manyways.Demonstrations.from_arrays([random_trajectory(rng, 5) for _ in range(count)])


def random_trajectory(rng, steps=50):
    return rng.normal(size=(steps, 3)), rng.normal(size=(steps, 2))


def test_different_modes_get_different_groups(demonstrations, labels):
    assert purity(nearest_groups(demonstrations, 2, seed=0), labels) == 1


def test_the_kernel_mean_depends_on_the_actions_and_not_on_the_start():
    rng = np.random.default_rng(0)
    trajectories = [random_trajectory(rng) for _ in range(6)]
    demonstrations = Demonstrations.from_arrays(trajectories)
    embedding = Embedding.fit(demonstrations, seed=0)
    observations, actions = trajectories[0]
    order = rng.permutation(50)
    embeddings = [
        embedding._features(*(array.astype(np.float32) for array in pair))[:512]
        for pair in (
            (observations, actions),
            (observations + 7, actions),
            (observations[order], actions[order]),
            (observations, actions + 1),
        )
    ]
    np.testing.assert_allclose(embeddings[1], embeddings[0], atol=1e-4)
    np.testing.assert_allclose(embeddings[2], embeddings[0], atol=1e-4)
    assert np.abs(embeddings[3] - embeddings[0]).max() > 0.1


def test_a_trajectory_at_twice_the_speed_is_embedded_almost_alike():
    rng = np.random.default_rng(0)
    time = np.linspace(0, 1, 101)[:, None]
    pairs = [(np.sin(6 * time + phase), np.cos(6 * time + phase)) for phase in rng.uniform(0, 6, 12)]
    slow = Demonstrations.from_arrays(pairs)
    fast = Demonstrations.from_arrays([(observations[::2], actions[::2]) for observations, actions in pairs])
    embedding = Embedding.fit(slow, seed=0)
    apart = np.linalg.norm(embedding(slow) - embedding(fast), axis=1).mean()
    assert apart < 0.2 * np.linalg.norm(embedding(slow), axis=1).mean()


@pytest.mark.parametrize(
    "motions",
    [
        Motions(kinds=12, per_kind=10, noise=0.1),
        Motions(kinds=12, per_kind=10, starts=1.0),
        Motions(kinds=12, per_kind=10, shared=0.6),
        Motions(kinds=12, per_kind=20, imbalance=10),
    ],
    ids=["noise", "starts", "shared", "imbalance"],
)
def test_kinds_are_found_despite_noise_other_starts_shared_parts_and_imbalance(motions):
    demonstrations, kinds = motions.draw(seed=0)
    assert normalized_mutual_information(nearest_groups(demonstrations, 12, seed=0), kinds) > 0.95


@pytest.mark.parametrize("size", [18, 150])
def test_one_relation_among_many_dimensions_is_found(size):
    demonstrations, kinds = relations(3, 30, seed=0, size=size)
    assert purity(nearest_groups(demonstrations, 3, seed=0), kinds) > 0.97


def test_in_smooth_motions_no_response_is_reliable():
    demonstrations, _ = Motions(kinds=5, per_kind=10, noise=0.05).draw(seed=0)
    assert Embedding.fit(demonstrations, seed=0).response_correlations.shape == (4, 0)


def test_a_response_has_its_sign_and_a_constant_dimension_has_none():
    rng = np.random.default_rng(0)
    demonstrations, _ = relations(2, 10, seed=0, size=3)
    embedding = Embedding.fit(demonstrations, seed=0)
    states = rng.normal(size=(60, 3)).astype(np.float32)
    states[:, 2] = 1
    actions = np.stack([states[:, 0], -states[:, 1]], axis=1)
    responses = embedding._correlations(states, actions).reshape(3, 2)
    np.testing.assert_array_equal(responses[2], 0)
    assert responses[0, 0] > 0.5 > -0.5 > responses[1, 1]


def test_the_metric_gives_little_weight_to_the_spread_within_groups():
    # Plain k-means would find left and right; the groups differ in the narrow direction.
    rng = np.random.default_rng(0)
    above = np.arange(200) % 2
    points = np.stack([rng.normal(size=200), 1.2 * above + 0.1 * rng.normal(size=200)], axis=1).astype(np.float32)
    metric, centres, labels, _ = cluster(points, 2, seed=0)
    assert purity(labels, above) == 1
    spread = (points @ metric - centres[labels]).std(axis=0)
    np.testing.assert_allclose(spread, 1, atol=0.25)


def test_relative_nll_is_half_the_squared_distance_beyond_the_nearest_group(demonstrations):
    groups = find_groups(demonstrations, 3, seed=0)
    nll = groups.relative_nll(demonstrations)
    assert nll.shape == (24, 3)
    assert (nll.min(axis=1) == 0).all()
    places = groups.embedding(demonstrations) @ groups.metric
    expected = ((places[:, None] - groups.centres) ** 2).sum(axis=-1) / 2
    np.testing.assert_allclose(nll, expected - expected.min(axis=1, keepdims=True), atol=1e-3)


def test_groups_keep_modes_apart_that_one_code_could_imitate():
    # The motions have regions of their own, so one code can imitate several: the policy's error alone would merge them.
    demonstrations, kinds = Motions(kinds=5, per_kind=12).draw(seed=0)
    settings = manyways.SOGBC(
        prior=manyways.Categorical(5), iterations=150, hidden=16, trajectories_per_batch=12, steps_per_trajectory=12
    )
    policy = settings.fit(demonstrations)
    assert purity(policy.losses(demonstrations).argmin(axis=1), kinds) == 1


@pytest.mark.parametrize("sure", [False, True])
def test_the_search_corrects_wrong_groups_unless_gaps_are_sure_of_them(sure):
    demonstrations, kinds = relations(3, 30, seed=1)
    settings = manyways.SOGBC(
        prior=manyways.Categorical(3),
        iterations=300,
        hidden=32,
        trajectories_per_batch=16,
        steps_per_trajectory=16,
        validation=0,
    )
    training = settings.start(demonstrations)
    wrong = find_groups(demonstrations, 3, seed=0)
    rng = np.random.default_rng(0)
    random = np.where(rng.random(len(kinds)) < 0.6, kinds, rng.integers(3, size=len(kinds)))
    training._groups = wrong
    nll = (20.0 if sure else 4.0) * (np.arange(3) != random[:, None])
    steps = 3 if sure else demonstrations.lengths[:, None]
    training._nats = training._nats.new_tensor(nll / steps)
    assert purity(random, kinds) < 0.8
    while not training.finished:
        training.step()
    losses = trajectory_losses(training.network, demonstrations, training._codes)
    codes = (losses + nats_as_loss(nll / steps, losses.min(axis=1).mean() / 2)).argmin(axis=1)
    assert purity(codes, random if sure else kinds) > 0.97


def test_groups_are_sure_by_gaps_or_by_held_out_actions_and_not_where_nothing_tells_them_apart(demonstrations):
    assert find_groups(demonstrations, 2, seed=0).sure
    assert find_groups(relations(3, 30, seed=1)[0], 3, seed=0).sure
    rng = np.random.default_rng(0)
    noise = Demonstrations.from_arrays([random_trajectory(rng) for _ in range(40)])
    assert not find_groups(noise, 3, seed=0).sure


def test_sure_groups_count_as_much_as_a_few_steps_of_the_policy(demonstrations):
    groups = replace(find_groups(demonstrations, 2, seed=0), residual_variance=0.5, sure=False)
    per_step = groups.relative_nll(demonstrations) / demonstrations.lengths[:, None]
    np.testing.assert_allclose(groups.loss(demonstrations), per_step)
    sure = Groups.from_tensors(replace(groups, sure=True).tensors())
    a_third = groups.relative_nll(demonstrations) / 3
    np.testing.assert_allclose(sure.loss(demonstrations), a_third, rtol=1e-4, atol=1e-4)


def test_a_loaded_policy_has_the_same_groups(policy, demonstrations, tmp_path):
    policy.save(tmp_path)
    loaded = manyways.Policy.load(tmp_path)
    np.testing.assert_array_equal(loaded.losses(demonstrations), policy.losses(demonstrations))
    assert loaded.groups is not None


def test_from_the_papers_start_the_policy_has_no_groups(demonstrations):
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=1, init="random")
    assert settings.fit(demonstrations).groups is None


def test_groups_of_equal_demonstrations_are_finite():
    demonstrations = Demonstrations.from_arrays([(np.ones((5, 2)), np.ones((5, 1)))] * 3)
    assert np.isfinite(find_groups(demonstrations, 2, seed=0).relative_nll(demonstrations)).all()


def test_a_kernel_mean_embedding_depends_on_pairs_and_not_on_order_or_length():
    rng = np.random.default_rng(0)
    observations, actions = rng.normal(size=(50, 3)), rng.normal(size=(50, 2))
    order = rng.permutation(50)
    demonstrations = Demonstrations.from_arrays(
        [
            (observations, actions),
            (observations[order], actions[order]),
            (np.tile(observations, (2, 1)), np.tile(actions, (2, 1))),
            (observations, actions + 1),
        ]
    )
    embeddings = kernel_mean_embedding(demonstrations, seed=0)
    np.testing.assert_allclose(embeddings[1], embeddings[0], atol=1e-5)
    np.testing.assert_allclose(embeddings[2], embeddings[0], atol=1e-5)
    assert np.abs(embeddings[3] - embeddings[0]).max() > 0.1


def test_mishaps_make_no_groups_of_their_own():
    demonstrations, kinds = Motions(kinds=6, per_kind=20, noise=0.02).draw(0)
    rng = np.random.default_rng(0)
    pairs = list(demonstrations)
    for mishap in range(5):  # each starts as one of the six and then flies off in a direction of its own
        observations, actions = pairs[mishap]
        flung = 30 * rng.normal(size=(1, 4)) * np.linspace(0, 1, len(actions))[:, None]
        pairs.append((observations + flung[:, :2], actions + flung[:, 2:]))
    with_mishaps = Demonstrations.from_arrays(pairs)
    groups = find_groups(with_mishaps, 6, 0)
    nll = groups.relative_nll(with_mishaps)
    assert purity(nll[:-5].argmin(axis=1), kinds) == 1
    np.testing.assert_array_equal(nll[-5:], 0)  # the groups do not rank them
    assert (nll[:-5].max(axis=1) > 10).all()


def test_three_similar_points_are_not_isolated():
    points = np.concatenate([np.zeros((50, 12)), np.full((3, 12), 100.0), np.full((2, 12), -100.0)])
    points += np.random.default_rng(0).normal(size=points.shape)
    assert list(np.flatnonzero(isolated(points))) == [53, 54]


def test_codes_of_components_fill_the_prior_in_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    rows = rng.exponential(size=(400, 1)) * [[3.0, 4.0]] + 1e-3 * rng.normal(size=(400, 2))
    components = ComponentCodes.fit(rows, Gaussian(3))
    codes = components(rows)
    assert codes.shape == (400, 3)
    np.testing.assert_array_equal(codes[:, 2], 0)  # there are two components
    probabilities = np.sort(Gaussian(3).cdf(codes)[:, :2], axis=0)
    np.testing.assert_allclose(probabilities, np.tile((np.arange(400) + 0.5)[:, None] / 400, (1, 2)), atol=1e-6)
    order = np.argsort(rows.sum(axis=1))[::10]  # far enough from each other that the noise changes nothing
    assert np.all(np.diff(codes[order, 0]) > 0) or np.all(np.diff(codes[order, 0]) < 0)
    # New rows get codes between those of the training rows, or at the ends.
    new = components(np.array([rows[order[3:5]].mean(axis=0), [-100.0, -100.0], [1000.0, 1000.0]]))[:, 0]
    assert min(codes[order[3:5], 0]) < new[0] < max(codes[order[3:5], 0])
    np.testing.assert_allclose(np.sort(new[1:]), [codes[:, 0].min(), codes[:, 0].max()], rtol=1e-6)


def levels(count=60, columns=12):
    """Return trajectories of noise whose modes differ in the level of one column alone, and the modes."""
    rng, modes = np.random.default_rng(3), np.arange(count) % 3
    pairs = []
    for mode in modes:
        states = 0.8 * rng.normal(size=columns) + 0.1 * rng.normal(size=(20, columns))
        states[:, 5] = mode + 0.05 * rng.normal() + 0.1 * rng.normal(size=20)
        pairs.append((states, rng.normal(size=(20, 2))))
    return manyways.Demonstrations.from_arrays(pairs), modes


def test_gaps_count_beside_labels_which_give_the_numbers():
    demonstrations, modes = levels()
    labelled = demonstrations.with_labels({0: 2, 1: 0, 2: 1})
    assert nearest_groups(labelled, 3, seed=0).tolist() == np.array([2, 0, 1])[modes].tolist()


def test_a_gap_between_two_of_one_label_makes_no_groups():
    demonstrations, modes = levels()
    # The first two modes are one by their labels, so the two groups are those and the third.
    known = {place: int(modes[place] == 2) for place in range(12)}
    found = nearest_groups(demonstrations.with_labels(known), 2, seed=0)
    assert found.tolist() == (modes == 2).astype(int).tolist()
    same = [(0, 1), (3, 4), (6, 7)]
    found = nearest_groups(demonstrations.with_pairs(same=same, different=[(0, 2)]), 2, seed=0)
    assert purity(found, modes == 2) == 1


def test_labels_find_the_column_that_tells_modes_apart_where_no_gap_does():
    rng, modes = np.random.default_rng(2), np.arange(60) % 2
    pairs = []
    for mode in modes:  # neighbours overlap a little, so there is no gap
        states = 2 * rng.normal(size=10) + 0.1 * rng.normal(size=(20, 10))
        states[:, 4] = 0.5 * mode + 0.14 * rng.normal() + 0.02 * rng.normal(size=20)
        pairs.append((states, rng.normal(size=(20, 1))))
    demonstrations = manyways.Demonstrations.from_arrays(pairs)
    found = nearest_groups(demonstrations.with_labels({place: int(modes[place]) for place in range(16)}), 2, seed=0)
    assert (found == modes)[16:].mean() > 0.85
    same = [(place, place + 2) for place in range(14)]  # each mode's first eight, linked
    found = nearest_groups(demonstrations.with_pairs(same=same, different=[(0, 1)]), 2, seed=0)
    assert purity(found[16:], modes[16:]) > 0.85
    assert purity(nearest_groups(demonstrations, 2, seed=0), modes) < 0.75


def test_a_pair_across_a_gap_joins_no_groups_if_too_few_would_be_left():
    demonstrations, modes = levels()
    found = nearest_groups(demonstrations.with_pairs(same=[(0, 2)]), 3, seed=0)
    assert purity(found[3:], modes[3:]) == 1
    points = find_groups(demonstrations.with_pairs(same=[(0, 2)]), 3, seed=0)
    assert points.sure


def test_points_that_are_linked_move_as_one_and_different_ones_apart():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(20, 2)), rng.normal((9, 0), size=(20, 2))]).astype(np.float32)
    paired = random_demonstrations(40).with_pairs(same=[(0, 20), (0, 21), (1, 22)], different=[(2, 3)])
    asked = Constraints.of(paired, manyways.Categorical(2))
    _, _, labels, _ = cluster(points, 2, seed=0, constraints=asked)
    assert labels[0] == labels[20] == labels[21] == labels[25]  # two of three are there
    assert labels[1] == labels[22]
    assert labels[2] != labels[3]
    others = np.setdiff1d(np.arange(40), [0, 1, 2, 3, 20, 21, 22])
    assert purity(labels[others], others >= 20) == 1
