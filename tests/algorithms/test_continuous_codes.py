import json

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LinearRegression

import manyways
from manyways import Gaussian, InputError, Policy
from manyways.evaluation import ContinuousEvaluation, evaluate_continuous
from manyways.search.settings import Search
from manyways.tasks import get_task
from manyways.tasks.collect import collect


def range_of_modes(dimensions, trajectories=80, seed=0):
    """Return demonstrations of different lengths, whose actions depend on unobserved modes in [-1, 1]."""
    rng = np.random.default_rng(seed)
    modes = rng.uniform(-1, 1, (trajectories, dimensions))
    pairs = []
    for mode in modes:
        observations = rng.normal(size=(rng.integers(20, 60), 3)).astype(np.float32)
        actions = np.stack([mode[0] + 0.3 * observations[:, 0], mode[-1] * observations[:, 1] + mode[0]], axis=1)
        pairs.append((observations, actions + 0.02 * rng.normal(size=actions.shape)))
    return manyways.Demonstrations.from_arrays(pairs), modes


@pytest.fixture(scope="module")
def one_dimension():
    return range_of_modes(1)


@pytest.fixture(scope="module")
def continuous_policy(one_dimension):
    return manyways.SOGBC(prior=Gaussian(1), iterations=400, hidden=32).fit(one_dimension[0])


def test_similar_modes_get_similar_codes(continuous_policy, one_dimension):
    demonstrations, modes = one_dimension
    encoding = continuous_policy.encode(demonstrations)
    assert abs(spearmanr(encoding.codes[:, 0], modes[:, 0]).statistic) > 0.98
    assert encoding.losses.max() < 0.1  # of 2 where a policy explains nothing
    assert (encoding.spread < 0.25).all()
    assert continuous_policy.modes == ()


def test_the_codes_of_the_demonstrations_are_spread_as_the_prior(continuous_policy, one_dimension):
    codes = continuous_policy.encode(one_dimension[0]).codes
    assert abs(codes.mean()) < 0.15
    assert 0.8 < codes.std() < 1.2


def test_the_whole_range_is_selected_by_the_priors_cdf(continuous_policy):
    actions = [
        continuous_policy.predict(np.zeros(3), continuous_policy.code(share), deterministic=True)[0][0]
        for share in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
    steps = np.diff(actions)
    assert (steps > 0.1).all() or (steps < -0.1).all()
    assert np.ptp(actions) > 1.1  # of 1.6, the middle 80% of [-1, 1]


def test_both_dimensions_of_a_code_are_found():
    demonstrations, modes = range_of_modes(2)
    policy = manyways.SOGBC(prior=Gaussian(2), search=Search(candidates=40), iterations=400, hidden=32).fit(
        demonstrations
    )
    encoding = policy.encode(demonstrations)
    features = np.concatenate([encoding.codes, encoding.codes**2, encoding.codes.prod(axis=1, keepdims=True)], axis=1)
    assert LinearRegression().fit(features, modes).score(features, modes) > 0.9
    np.testing.assert_allclose(np.cov(encoding.codes.T), np.eye(2), atol=0.35)


def test_a_dimension_without_effect_is_not_determined(one_dimension):
    demonstrations, _ = one_dimension
    policy = manyways.SOGBC(prior=Gaussian(1), iterations=1, hidden=8).fit(demonstrations)
    policy.network.code.weight.data.zero_()
    assert (policy.encode(demonstrations).spread == 1).all()


@pytest.mark.parametrize("init", ["clusters", "random"])
def test_training_goes_on_bit_for_bit(one_dimension, init):
    settings = manyways.SOGBC(prior=Gaussian(2), iterations=12, hidden=8, warm_up=0.3, init=init)
    whole, training = settings.start(one_dimension[0]), settings.start(one_dimension[0])
    while not whole.finished:
        whole.step()
    for _ in range(5):
        training.step()
    resumed = settings.start(one_dimension[0])
    resumed.load_state_dict({name: tensor.clone() for name, tensor in training.state_dict().items()})
    while not resumed.finished:
        resumed.step()
    for name, tensor in whole.state_dict().items():
        assert tensor.equal(resumed.state_dict()[name]), name


def test_a_saved_policy_is_the_same(continuous_policy, one_dimension, tmp_path):
    continuous_policy.save(tmp_path)
    loaded = Policy.load(tmp_path)
    assert loaded.prior == Gaussian(1)
    observations = one_dimension[0].observations[:50]
    code = continuous_policy.code(0.2)
    np.testing.assert_array_equal(
        loaded.predict(observations, code, deterministic=True)[0],
        continuous_policy.predict(observations, code, deterministic=True)[0],
    )


def test_lists_of_continuous_codes_are_refused(continuous_policy, one_dimension, policy):
    with pytest.raises(InputError, match="codes have 1 continuous dimensions, so they cannot be listed"):
        continuous_policy.losses(one_dimension[0])
    with pytest.raises(InputError, match=r"\[3.0\] are not 1 probabilities between 0 and 1"):
        continuous_policy.code(3)
    with pytest.raises(InputError, match=r"0.5 is no index and no name of a code; give 0 to 1"):
        policy.code(0.5)
    with pytest.raises(InputError, match="do not both have continuous modes and codes"):
        evaluate_continuous(policy, get_task("fetch-reach"), one_dimension[0], one_dimension[1])


@pytest.fixture(scope="module")
def cheetahs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cheetahs") / "data"
    collect(get_task("halfcheetah-vel"), 24, folder, seed=0)
    return folder


def test_a_task_with_a_range_of_modes_from_the_command_line_to_its_page(command, cheetahs, tmp_path):
    run = tmp_path / "run"
    train = ("train", "sog-bc", cheetahs, "--task", "halfcheetah-vel", "--out", run, "--iterations", 60, "--hidden", 16)
    code, out, _ = command(*train, "--candidates", 20)
    assert code == 0
    assert "a continuous code of 1 dimension" in out
    assert json.loads((run / "config.json").read_text())["settings"]["search"]["candidates"] == 20
    assert command("modes", run)[0] == 0
    modes = json.loads((run / "modes.json").read_text())
    assert np.array(modes["codes"]).shape == np.array(modes["spread"]).shape == (24, 1)
    code, out, _ = command("evaluate", run, "--episodes", 4)
    assert code == 0
    assert "mutual information of code and what is achieved" in out
    evaluation = ContinuousEvaluation.from_json(json.loads((run / "evaluation.json").read_text()))
    assert np.isfinite(evaluation.mutual_information_nats)
    assert evaluation.hit_rate is evaluation.entropy_nats is None
    assert np.array(evaluation.codes).shape == (40, 1)
    assert command("report", run)[0] == 0
    page = (run / "report.html").read_text()
    assert "range" in page
    assert page.count('<img src="data:image/png') == 2


def test_both_kinds_of_code_at_once_are_refused(command, cheetahs, tmp_path):
    code, _, error = command("train", "sog-bc", cheetahs, "--modes", 2, "--code-size", 1, "--out", tmp_path / "run")
    assert code == 2
    assert "--modes 2 and --code-size 1 exclude each other" in error
