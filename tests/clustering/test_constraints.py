from itertools import permutations, product

import numpy as np
import pytest

import manyways
from manyways import InputError
from manyways.clustering import constraints
from manyways.clustering.constraints import Constraints, best_codes, least_modes
from manyways.clustering.known import chance_of_agreement, joined, kept, telling, told_apart
from manyways.demonstrations.pairs import Pairs


def drawn(count):
    return manyways.Demonstrations.from_arrays([(np.eye(3, 2) + i, np.eye(3, 1)) for i in range(count)])


def holds(codes, same, different, labels):
    return (
        all(codes[one] == codes[other] for one, other in same)
        and all(codes[one] != codes[other] for one, other in different)
        and all(codes[place] == label for place, label in labels.items())
    )


@pytest.mark.parametrize("seed", range(60))
def test_codes_are_the_best_that_labels_and_pairs_allow_or_there_are_none(seed, monkeypatch):
    rng, count, size = np.random.default_rng(seed), 6, 3
    pair = lambda: tuple(rng.choice(count, 2, replace=False).tolist())  # noqa: E731
    same = [pair() for _ in range(rng.integers(0, 3))]
    different = [pair() for _ in range(rng.integers(0, 6))]
    labels = {int(place): int(rng.integers(size)) for place in rng.choice(count, rng.integers(0, 3), replace=False)}
    losses = rng.random((count, size))
    allowed = [codes for codes in product(range(size), repeat=count) if holds(codes, same, different, labels)]
    sums = [losses[range(count), codes].sum() for codes in allowed]
    for tried in (constraints._TRIED, 0):  # exactly, and by exchanges
        monkeypatch.setattr(constraints, "_TRIED", tried)
        try:
            found = best_codes(
                losses, drawn(count).with_pairs(same, different).with_labels(labels), manyways.Categorical(size)
            )
        except InputError:
            assert not allowed
            continue
        assert holds(found, same, different, labels)
        if tried:
            assert losses[range(count), found].sum() == pytest.approx(min(sums))


def test_many_pairs_are_kept_and_help():
    rng, modes = np.random.default_rng(0), np.random.default_rng(1).integers(4, size=300)
    pairs = rng.integers(300, size=(500, 2))
    different = [pair for pair in pairs.tolist() if modes[pair[0]] != modes[pair[1]]]
    same = [pair for pair in pairs.tolist() if modes[pair[0]] == modes[pair[1]] and pair[0] != pair[1]]
    losses = rng.random((300, 4))
    losses[range(300), modes] -= 0.6
    found = best_codes(losses, drawn(300).with_pairs(same, different), manyways.Categorical(4))
    assert holds(found, same, different, {})
    assert (found == modes).mean() > (losses.argmin(axis=1) == modes).mean()


@pytest.mark.parametrize(
    ("different", "labels", "words"),
    [
        ([(0, 1), (1, 2), (2, 0)], {}, "trajectories 0, 1 and 2 are all different ways, but there are 2 codes"),
        ([(0, 1), (0, 2)], {1: 0, 2: 1}, "are all different ways, but there are 2 codes; give 3 modes or more"),
        # A ring of five has no three that are all different, but needs three codes; labels may close it.
        ([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)], {}, "no 2 codes keep all trajectories apart"),
        ([(0, 1), (1, 2), (2, 3), (3, 4)], {0: 0, 4: 1}, "no 2 codes keep all trajectories apart"),
    ],
)
def test_too_few_codes_are_said_in_one_sentence(different, labels, words):
    demonstrations = drawn(5).with_pairs(different=different).with_labels(labels)
    with pytest.raises(InputError, match=words):
        Constraints.of(demonstrations, manyways.Categorical(2))
    assert Constraints.of(demonstrations, manyways.Categorical(3)) is not None


def test_continuous_codes_keep_no_pairs():
    with pytest.raises(InputError, match="there are pairs, but the codes are continuous"):
        Constraints.of(drawn(3).with_pairs([(0, 1)]), manyways.Gaussian(1))


def test_the_least_number_of_modes_is_that_of_mutually_different_trajectories_and_labels():
    def least(different, labels):
        known = np.array(labels)
        return least_modes(known, Pairs.of(len(known), [], different))

    assert least([], [-1, -1]) == 1
    assert least([], [0, 0, 5]) == 2
    assert least([(0, 1), (1, 2)], [-1, -1, -1]) == 2
    assert least([(0, 1), (1, 2), (0, 2)], [-1, -1, -1]) == 3
    # 3 differs from one trajectory of each label, which stands for all of it.
    assert least([(3, 0), (3, 2)], [0, 0, 1, -1]) == 3
    assert least([(3, 0)], [0, 0, 1, -1]) == 2


def test_groups_are_one_where_most_labels_and_pairs_say_so():
    groups = np.repeat([0, 1, 2], 4)

    def numbers(labels=(), same=(), different=()):
        known = np.full(12, -1)
        for place, label in dict(labels).items():
            known[place] = label
        return joined(groups, known, Pairs.of(12, same, different))[::4].tolist()

    assert numbers() == [0, 1, 2]
    assert numbers({0: 0, 4: 0, 8: 1}) == [0, 0, 1]
    assert numbers(same=[(1, 9)]) == [0, 1, 0]
    assert numbers(same=[(1, 9)], different=[(0, 8)]) == [0, 1, 2]
    assert numbers(same=[(1, 9), (2, 10)], different=[(0, 8)]) == [0, 1, 0]
    # One stray of label 0 among those of label 1 joins nothing.
    assert numbers({0: 0, 1: 0, 4: 0, 5: 1, 6: 1}) == [0, 1, 2]


def test_a_group_counts_as_often_as_its_labels_and_trajectories_are_mutually_different():
    groups = np.repeat([0, 1], 6)
    known = np.full(12, -1)
    assert told_apart(groups, None, None) == 2
    known[[0, 1, 2]] = [0, 1, 0]
    assert told_apart(groups, known, None) == 3
    assert told_apart(groups, known, Pairs.of(12, [], [(6, 7), (7, 8), (6, 8)])) == 5
    known[[0, 1, 2, 6, 7, 8]] = [0, 0, 1, 1, 1, 1]  # the label 1 belongs to the second group
    assert told_apart(groups, known, None) == 2


def test_groups_get_the_numbers_of_the_labels_and_keep_the_pairs():
    demonstrations = drawn(6).with_labels({0: 1, 3: 0}).with_pairs(same=[(1, 4)], different=[(2, 5)])
    asked = Constraints.of(demonstrations, manyways.Categorical(2))
    found = kept(np.array([0, 0, 0, 1, 1, -1]), asked)
    assert found.tolist()[:4] == [1, found[4], 1, 0]
    assert found[5] == 0


def test_labels_confirm_groups_by_the_share_of_ways_to_deal_them_out_that_agree():
    labels = np.array([0, 0, -1, 1, 1, 1, -1])
    ways = {tuple(order) for order in permutations([0, 0, 1, 1, 1])}
    assert chance_of_agreement(labels, 2) == pytest.approx(1 / len(ways))
    assert chance_of_agreement(labels, 3) == 1
    halves = [order for order in permutations([0, 0, 1, 1]) if order in ((0, 0, 1, 1), (1, 1, 0, 0))]
    assert chance_of_agreement(np.array([0, 0, 1, 1]), 2) == pytest.approx(len(halves) / 24)


def test_only_columns_that_tell_labels_apart_beyond_chance_are_found():
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=(40, 300)), np.full(40, -1)
    labels[:8] = [0, 1, 2, 0, 1, 2, 0, 1]
    assert len(telling(values, labels, 0.05)) == 0
    values[:, 7] = 0.05 * values[:, 7] + np.where(labels >= 0, labels, 1)
    assert telling(values, labels, 0.05).tolist() == [7]
    assert len(telling(values, np.where(np.arange(40) < 3, labels, -1), 0.05)) == 0  # no two of a label


def test_a_search_that_goes_on_from_its_last_codes_keeps_all_pairs_and_gets_better(monkeypatch):
    monkeypatch.setattr(constraints, "_TRIED", 0)
    rng, modes = np.random.default_rng(0), np.random.default_rng(1).integers(4, size=80)
    pairs = rng.integers(80, size=(100, 2)).tolist()
    different = [pair for pair in pairs if modes[pair[0]] != modes[pair[1]]]
    asked = Constraints.of(drawn(80).with_pairs(different=different), manyways.Categorical(4))
    losses = rng.random((80, 4))
    losses[range(80), modes] -= 0.6
    own, sums = losses[asked.tied], []
    codes = asked.possible
    for _ in range(60):
        codes = asked.block_codes(own, codes, rng.choice(len(codes), 8, replace=False))
        assert (codes[asked.different[:, 0]] != codes[asked.different[:, 1]]).all()
        sums.append(own[range(len(own)), codes[asked.blocks]].sum())
    assert (np.diff(sums) < 1e-9).all()
    assert sums[-1] < sums[0] - 1
