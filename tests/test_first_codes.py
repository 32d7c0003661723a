import numpy as np

from manyways import Demonstrations
from manyways.evaluation import purity
from manyways.first_codes import embed, groups


def test_ways_that_differ_get_codes_that_differ(demonstrations, labels):
    assert purity(groups(demonstrations, 2, seed=0), labels) == 1


def test_an_embedding_depends_on_what_is_done_and_not_on_order_or_length():
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
    embeddings = embed(demonstrations, seed=0)
    np.testing.assert_allclose(embeddings[1], embeddings[0], atol=1e-5)
    np.testing.assert_allclose(embeddings[2], embeddings[0], atol=1e-5)
    assert np.abs(embeddings[3] - embeddings[0]).max() > 0.1


def test_demonstrations_that_are_all_the_same_do_no_harm():
    demonstrations = Demonstrations.from_arrays([(np.ones((5, 2)), np.ones((5, 1)))] * 3)
    assert np.isfinite(embed(demonstrations, seed=0)).all()
