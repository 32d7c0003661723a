"""Codes to begin with, from the trajectories alone, before there is a policy that a search could ask.

From a random network the first search is a lottery: a code that wins nothing never learns, and stays dead. So the
trajectories are grouped once by what is done in them, and SOG starts from these codes and then searches its own.
A trajectory is described by its kernel mean embedding, the mean of random Fourier features (Rahimi & Recht 2007) of
its (state, action) pairs: a summary of which pairs occur that needs no encoder, no alignment and no common length.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from manyways.demonstrations import Demonstrations
from manyways.latents import Gaussian, Prior
from manyways.networks import Normalizer

_FEATURES = 512
_STEPS_PER_TRAJECTORY = 128  # more say little new about which pairs occur
_PAIRS_FOR_BANDWIDTH = 1000
_TRAJECTORIES_FOR_CENTRES = 10_000
_RESTARTS = 10  # of k-means


def first_codes(demonstrations: Demonstrations, prior: Prior, seed: int) -> NDArray[np.float32]:
    """Return a first code for every trajectory, (trajectories, dimension)."""
    if isinstance(prior, Gaussian):
        return continuous_codes(demonstrations, prior, seed)
    return prior.enumerate()[groups(demonstrations, prior.size, seed)]


def continuous_codes(demonstrations: Demonstrations, prior: Gaussian, seed: int) -> NDArray[np.float32]:
    """Return codes along the directions in which the trajectories differ most, (trajectories, dimension).

    These are the principal components of the embeddings; each is spread over the prior by its ranks, so that the codes
    fill the prior and similar trajectories have similar codes.
    """
    embeddings = embed(demonstrations, seed)
    count = min(prior.dimension, *embeddings.shape)
    components = PCA(count, svd_solver="full").fit_transform(embeddings)
    ranks = np.argsort(np.argsort(components, axis=0, kind="stable"), axis=0)
    codes = np.zeros((len(embeddings), prior.dimension), dtype=np.float32)
    codes[:, :count] = Gaussian(count).quantile((ranks + 0.5) / len(embeddings))
    return codes


def groups(demonstrations: Demonstrations, codes: int, seed: int) -> NDArray[np.int64]:
    """Return the index of a group of similar trajectories for every trajectory, (trajectories,)."""
    embeddings = embed(demonstrations, seed)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(embeddings))[:_TRAJECTORIES_FOR_CENTRES]
    # Threads would add up the centres in an order that changes from run to run, and now and then a label with it.
    with threadpool_limits(1, user_api="openmp"):
        means = KMeans(codes, n_init=_RESTARTS, random_state=seed).fit(embeddings[chosen])
        labels: NDArray[np.int64] = means.predict(embeddings).astype(np.int64)
    return labels


def embed(demonstrations: Demonstrations, seed: int) -> NDArray[np.float32]:
    """Return the kernel mean embedding of every trajectory, (trajectories, features).

    The kernel is Gaussian on normalised (state, action) pairs, its bandwidth the median distance of two pairs.
    """
    rng = np.random.default_rng(seed)
    size = demonstrations.observation_size + demonstrations.action_size
    mean, scale = _normalisation(demonstrations)
    sample = np.sort(rng.choice(demonstrations.steps, min(_PAIRS_FOR_BANDWIDTH, demonstrations.steps), replace=False))
    pairs = np.concatenate([demonstrations.observations[sample], demonstrations.actions[sample]], axis=1)
    distances = pdist((pairs - mean) * scale)
    positive = distances[distances > 0]
    bandwidth = float(np.median(positive)) if positive.size else 1.0
    frequencies = (rng.standard_normal((size, _FEATURES)) / bandwidth).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, _FEATURES).astype(np.float32)

    embeddings = np.empty((len(demonstrations), _FEATURES), dtype=np.float32)
    for index, (observations, actions) in enumerate(demonstrations):
        rows = np.linspace(0, len(actions) - 1, min(len(actions), _STEPS_PER_TRAJECTORY)).astype(np.int64)
        pairs = (np.concatenate([observations[rows], actions[rows]], axis=1) - mean) * scale
        embeddings[index] = np.cos(pairs @ frequencies + phases).mean(axis=0)
    return embeddings


def _normalisation(demonstrations: Demonstrations) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean and the inverse standard deviation of the columns of (state, action) pairs."""
    means, scales = [], []
    for values in (demonstrations.observations, demonstrations.actions):
        normalizer = Normalizer(values.shape[1])
        normalizer.fit(values)
        std = normalizer.std.numpy()
        means.append(normalizer.mean.numpy())
        scales.append(np.divide(1, std, out=np.zeros_like(std), where=std > 0))
    return np.concatenate(means), np.concatenate(scales)
