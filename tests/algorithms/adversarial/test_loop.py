import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

import manyways
from manyways import GAIL, SOGGAIL, VAEGAIL, Categorical, Gaussian, InfoGAIL, InputError, get_algorithm
from manyways.algorithms.adversarial.diagnostics import Failures, code_information
from manyways.algorithms.adversarial.pairs import Pairs
from manyways.clustering.constraints import best_codes
from manyways.demonstrations.spaces import box
from manyways.files import read_tensors, write_tensors
from manyways.policies.trajectory_encoder import TrajectoryEncoder

SMALL = {
    "environments": 4,
    "steps_per_update": 16,
    "pretraining": 30,
    "epochs": 2,
    "minibatch": 16,
    "warm_up_updates": 1,
    "discriminator_batch": 16,
    "hidden": 16,
    "updates_per_restart": 2,
    "total_steps": 6 * 64,
}


@pytest.fixture(autouse=True)
def one_thread():
    """Keep PyTorch to one thread: matrices this small are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Walk(VectorEnv):
    """A point on a line, which an action moves; an episode lasts 12 steps."""

    def __init__(self, num_envs=4):
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Box(-100, 100, (2,))
        self.single_action_space = gym.spaces.Box(-2.0, 2.0, (1,))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        self.steps = np.zeros(self.num_envs, dtype=int)
        self.places = np.zeros(self.num_envs)
        self.ended = np.zeros(self.num_envs, dtype=bool)
        return self._show(), {}

    def _show(self):
        return np.stack([self.places, self.steps / 12], axis=1).astype(np.float32)

    def step(self, actions):
        places = self.places + actions[:, 0] + 0.05 * self.rng.standard_normal(self.num_envs)
        self.places = np.where(self.ended, 0.0, places)
        self.steps = np.where(self.ended, 0, self.steps + 1)
        self.ended = self.steps == 12
        return self._show(), np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=bool), self.ended.copy(), {}


def two_directions(trajectories=16, seed=0):
    """Return demonstrations of walking left or right, of different lengths."""
    rng = np.random.default_rng(seed)
    pairs = []
    for trajectory in range(trajectories):
        steps = int(rng.integers(8, 13))
        actions = (1 if trajectory % 2 else -1) + 0.1 * rng.standard_normal((steps, 1))
        places = np.concatenate([[0.0], np.cumsum(actions[:-1, 0])])
        pairs.append((np.stack([places, np.arange(steps) / 12], axis=1), actions))
    return manyways.Demonstrations.from_arrays(pairs)


def settings(name, prior=None, **changes):
    chosen = get_algorithm(name)
    own = {"prior": prior or Categorical(1 if chosen is GAIL else 2)}
    if chosen is VAEGAIL:
        own |= {"vae_iterations": 20, "vae_batch": 8, "vae_hidden": 8, "decoder_hidden": 16, "vae_code_size": 3}
    return chosen(**(SMALL | own | changes))


ALL = ["gail", "sog-gail", "infogail", "vae-gail"]


def end(training):
    while not training.finished:
        training.step()
    return training.policy()


@pytest.mark.parametrize("prior", [Categorical(2), Gaussian(1)], ids=["discrete", "continuous"])
@pytest.mark.parametrize("name", ALL)
def test_each_learns_to_the_end_and_keeps_a_policy_of_its_codes(name, prior):
    chosen = settings(name, None if name == "gail" else prior)
    training = chosen.start(two_directions(), Walk())
    policy = end(training)
    assert training.ppo.update == chosen.updates == 6
    scalars = training.scalars()
    assert all(np.isfinite(value) for value in scalars.values())
    assert {"discriminator_accuracy", "reward", "kl", "clip_fraction", "entropy", "share_simulator"} <= set(scalars)
    assert scalars["share_simulator"] + scalars["share_inference"] + scalars["share_learning"] == pytest.approx(1)
    expected = Categorical(1) if name == "gail" else prior
    if name == "vae-gail" and prior == Gaussian(1):
        expected = Gaussian(3)
    assert policy.prior == expected
    action, code = policy.predict(np.zeros((5, 2)), deterministic=True)
    assert action.shape == (5, 1)
    assert (np.abs(action) <= 2).all()
    assert code.shape == (5, expected.dimension)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("stop", ["in pretraining", "between updates"])
def test_training_restored_at_a_checkpoint_goes_on_bit_for_bit(tmp_path, name, stop):
    chosen, demonstrations = settings(name), two_directions()
    whole = chosen.start(demonstrations, Walk())
    broken = chosen.start(demonstrations, Walk())
    pretraining = broken.method.pretraining_iterations
    for _ in range(pretraining - 5 if stop == "in pretraining" else pretraining + 4):
        broken.step()
    assert broken.at_checkpoint
    write_tensors(tmp_path / "state.safetensors", broken.state_dict())
    again = chosen.start(demonstrations, Walk())
    again.load_state_dict(read_tensors(tmp_path / "state.safetensors"))
    assert again.iteration == broken.iteration
    end(whole)
    end(again)
    one, other = whole.state_dict(), again.state_dict()
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


def test_sog_gail_keeps_labels_and_pairs_in_every_search():
    # 0 and 2 walk left, 1 and 3 right.
    known = two_directions().with_labels({0: 1, 1: 1}).with_pairs(same=[(2, 3)])
    training = settings("sog-gail").start(known, Walk())
    policy = end(training)
    cloning = training.method.cloning
    for number in range(60, 70):
        _, trajectories = cloning._draw(number)
        codes = cloning.batch(number).codes.view(len(trajectories), -1, 2)[:, 0].argmax(dim=1)
        assert (codes[trajectories <= 1] == 1).all()
        linked = codes[(trajectories == 2) | (trajectories == 3)]
        assert len(linked.unique()) <= 1
    codes = best_codes(policy.losses(known), known, policy.prior)
    assert policy.counts == tuple(np.bincount(codes, minlength=2))
    assert codes[[0, 1]].tolist() == [1, 1]
    assert codes[2] == codes[3]


def test_gail_has_no_codes_to_keep_labels_with():
    known = two_directions().with_labels({0: 3}).with_pairs(different=[(1, 2)])
    assert end(settings("gail").start(known, Walk())).counts == (16,)


def test_between_restarts_of_the_environments_there_is_no_checkpoint():
    training = settings("gail").start(two_directions(), Walk())
    while training.pretraining is not None:
        training.step()
    flags = []
    while not training.finished:
        training.step()
        flags.append(training.at_checkpoint)
    assert flags == [False, True] * 3


def test_the_policy_starts_from_the_cloned_one():
    demonstrations = two_directions()
    training = settings("sog-gail", pretraining=200).start(demonstrations, Walk())
    while training.pretraining is not None:
        training.step()
    policy = training.policy()
    observations = demonstrations.observations[:40]
    actor = training.ppo.network.actor
    for code in range(2):
        cloned = policy.predict(observations, policy.code(code), deterministic=True)[0]
        codes = torch.eye(2)[code].expand(40, 2)
        acting = actor.actions.restore(
            training.ppo.network.means(actor.observations(torch.from_numpy(observations)), codes)
        ).detach()
        np.testing.assert_allclose(acting.clamp(-2, 2), cloned, atol=1e-5)
    # Both directions were found, each by one code.
    actions = [policy.predict(np.zeros(2), policy.code(code), deterministic=True)[0][0] for code in range(2)]
    assert sorted(np.sign(actions)) == [-1, 1]
    assert policy.counts == (8, 8)


def test_sog_gail_adds_the_squared_error_under_the_searched_codes():
    chosen = settings("sog-gail", lambda_s=0.5, sog_minibatch=4096)
    training = chosen.start(two_directions(), Walk())
    while training.pretraining is not None:
        training.step()
    method, actor = training.method, training.ppo.network.actor
    loss = method.added_loss(3, np.random.default_rng(0))()
    batch = method.cloning.batch(chosen.pretraining + 3)
    with torch.no_grad():
        error = actor(batch.observations, batch.codes) - batch.targets
    assert loss.item() == pytest.approx(0.5 * error.square().sum(dim=1).mean().item(), rel=0.1)
    # The gradient goes into the network that acts.
    loss.backward()
    assert actor.output.weight.grad is not None
    assert settings("sog-gail", lambda_s=0.0).start(two_directions(), Walk()).method.added_loss(0, None) is None


def test_sog_gail_keeps_both_modes():
    policy = end(settings("sog-gail", pretraining=200, total_steps=20 * 64).start(two_directions(), Walk()))
    actions = [policy.predict(np.zeros(2), policy.code(code), deterministic=True)[0][0] for code in range(2)]
    assert sorted(np.sign(actions)) == [-1, 1]
    assert np.abs(actions).min() > 0.5


def test_gail_does_not_need_the_environments_reward():
    # One direction only, hardly any cloning: what moves the policy is the discriminator.
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(16):
        actions = 1 + 0.1 * rng.standard_normal((12, 1))
        places = np.concatenate([[0.0], np.cumsum(actions[:-1, 0])])
        pairs.append((np.stack([places, np.arange(12) / 12], axis=1), actions))
    chosen = settings(
        "gail",
        pretraining=1,
        environments=16,
        steps_per_update=24,
        total_steps=60 * 384,
        epochs=5,
        minibatch=64,
        discriminator_learning_rate=3e-3,
        learning_rate=3e-3,
        target_kl=None,
        hidden=32,
    )
    training = chosen.start(manyways.Demonstrations.from_arrays(pairs), Walk(16))
    training.step()
    # A policy that stands still, with noise as large as its range: the actions' unit is their tiny spread.
    training.ppo.network.actor.output.weight.data.zero_()
    training.ppo.network.actor.actions.std.fill_(1.0)
    training.ppo.network.actor.output.bias.data.fill_(-1.0)
    before = training.policy().predict(np.zeros(2), deterministic=True)[0][0]
    after = end(training).predict(np.zeros(2), deterministic=True)[0][0]
    assert before == pytest.approx(0, abs=0.1)
    assert after == pytest.approx(1, abs=0.3)


def test_infogails_posterior_learns_the_code_and_its_bonus_says_so():
    chosen = settings("infogail", lambda_i=0.5, posterior_learning_rate=1e-2)
    method = chosen.method(two_directions())
    rng = np.random.default_rng(0)
    codes = torch.eye(2)[torch.from_numpy(rng.integers(2, size=256))]
    inputs = torch.from_numpy(rng.standard_normal((256, 2), dtype=np.float32))
    actions = codes[:, :1] * 4 - 2  # which tell the code
    pairs = Pairs(inputs, actions, codes)
    first = method.bonus(pairs).mean()
    for _ in range(10):
        scalars = method.learn(pairs, rng)
    assert first < method.bonus(pairs).mean() == pytest.approx(0, abs=0.1)
    assert scalars["posterior_log_likelihood"] == pytest.approx(0, abs=0.1)
    wrong = method.bonus(Pairs(inputs, actions, 1 - codes))
    assert wrong.mean() < -0.5


def test_infogails_gaussian_posterior_is_a_density():
    method = settings("infogail", Gaussian(1)).method(two_directions())
    grid = torch.linspace(-50, 50, 2001)[:, None]
    pairs = Pairs(torch.zeros(2001, 2), torch.zeros(2001, 1), grid)
    likelihood = method.log_likelihood(method.posterior, pairs).exp().detach()
    assert torch.trapezoid(likelihood, grid[:, 0]).item() == pytest.approx(1, abs=1e-3)


def test_the_encoder_ignores_values_behind_a_trajectorys_end():
    torch.manual_seed(0)
    network = TrajectoryEncoder(box(3), 4, hidden=5)
    long, short = torch.randn(9, 3), torch.randn(4, 3)
    padded = torch.full((2, 9, 3), 100.0)
    padded[0], padded[1, :4] = long, short
    together, _ = network(padded, torch.tensor([9, 4]))
    alone, _ = network(short[None], torch.tensor([4]))
    torch.testing.assert_close(together[1], alone[0])


def test_vae_gails_codes_separate_the_modes_and_are_those_of_demonstrations():
    demonstrations = two_directions(32)
    chosen = settings("vae-gail", vae_iterations=150, pretraining=200)
    training = chosen.start(demonstrations, Walk())
    while training.pretraining is not None:
        training.step()
    codes = training.method.autoencoder.encoder.codes(demonstrations).detach()
    assert codes.shape == (32, 3)
    torch.testing.assert_close(codes.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    policy = training.policy()
    actions = [policy.predict(np.zeros(2), policy.code(code), deterministic=True)[0][0] for code in range(2)]
    assert sorted(np.sign(actions)) == [-1, 1]
    # The two listed codes are codes of demonstrations, taken into the code's layer.
    network = training.ppo.network.actor
    observations = torch.from_numpy(demonstrations.observations[:7])
    everything = torch.stack([network(observations, own.expand(7, 3)) for own in _codes_of(training)])
    for code in range(2):
        listed = policy.network(observations, torch.eye(2)[code].expand(7, 2))
        assert (everything - listed).abs().amax(dim=(1, 2)).min() < 1e-5


def test_vae_gails_policy_of_a_range_keeps_its_encoder(tmp_path):
    demonstrations = two_directions(32)
    training = settings("vae-gail", Gaussian(1), vae_iterations=150, pretraining=200).start(demonstrations, Walk())
    while training.pretraining is not None:
        training.step()
    policy = training.policy()
    encoding = policy.encode(demonstrations)
    np.testing.assert_allclose(encoding.codes.std(axis=0), 1, atol=1e-4)
    assert encoding.spread is None
    # The actions under a demonstration's code are those of the demonstration.
    actions = policy.predict(np.zeros((32, 2)), encoding.codes, deterministic=True)[0][:, 0]
    signs = np.array([np.sign(actions.mean()) for _, actions in demonstrations])
    assert (np.sign(actions) == signs).mean() > 0.9
    assert encoding.losses.mean() < 0.5
    policy.save(tmp_path / "policy")
    again = manyways.Policy.load(tmp_path / "policy").encode(demonstrations)
    np.testing.assert_array_equal(again.codes, encoding.codes)
    np.testing.assert_array_equal(again.losses, encoding.losses)


def _codes_of(training):
    return training.ppo.network.actor.codes_of(training.method.inputs)


def test_each_known_failure_is_reported_once():
    failures = Failures()
    fine = {"discriminator_accuracy": 0.7, "code_information": 0.5, "entropy": 0.0}
    for _ in range(30):
        failures.check(fine, action_size=1)
    assert failures.warnings == []
    for _ in range(19):
        failures.check(fine | {"discriminator_accuracy": 1.0, "code_information": 0.0}, action_size=1)
    assert failures.warnings == []
    for _ in range(30):
        failures.check({"discriminator_accuracy": 1.0, "code_information": 0.0, "entropy": 9.0}, action_size=1)
    assert len(failures.warnings) == 3
    for what, remedy in (
        ("tells all pairs apart", "--gradient-penalty"),
        ("no longer matters", "--lambda-s"),
        ("has become noise", "--learning-rate"),
    ):
        assert any(what in warning and remedy in warning for warning in failures.warnings)


def test_the_information_of_an_action_about_its_code_is_in_nats():
    training = settings("sog-gail", pretraining=200).start(two_directions(), Walk())
    while training.pretraining is not None:
        training.step()
    rollout = training.ppo.collect()
    rng = np.random.default_rng(0)
    assert code_information(training.ppo.network, training.method, rollout, rng) == pytest.approx(np.log(2), abs=0.1)
    training.ppo.network.actor.code.weight.data.zero_()
    blind = training.ppo.collect()
    assert code_information(training.ppo.network, training.method, blind, rng) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("gail", {"prior": Categorical(2)}, "no codes"),
        ("sog-gail", {"lambda_s": -1.0}, "lambda_s is -1.0"),
        ("infogail", {"lambda_i": -1.0}, "lambda_i is -1.0"),
        ("vae-gail", {"vae_batch": 0}, "vae_batch is 0"),
        ("gail", {"gradient_penalty": -2.0}, "gradient_penalty is -2.0"),
        ("gail", {"environments": 0}, "environments is 0"),
        ("gail", {"steps_per_update": 1}, "steps_per_update is 1"),
        ("gail", {"discriminator_learning_rate": 0.0}, "discriminator_learning_rate is 0.0"),
    ],
)
def test_settings_out_of_range_are_refused(name, changes, words):
    with pytest.raises(InputError, match=words):
        settings(name, **changes)


def test_demonstrations_with_other_spaces_are_refused(demonstrations):
    with pytest.raises(InputError, match=r"an observation is numbers of shape \(3,\)"):
        settings("gail").start(demonstrations, Walk())
    with pytest.raises(InputError, match="3 environments; make 4"):
        settings("gail").start(two_directions(), Walk(3))


def test_a_checkpoint_of_other_settings_is_refused():
    one = settings("infogail").start(two_directions(), Walk())
    other = settings("infogail", hidden=8).start(two_directions(), Walk())
    with pytest.raises(InputError, match="does not fit"):
        other.load_state_dict(one.state_dict())


def test_the_settings_go_into_a_file():
    for name in ALL:
        values = settings(name).to_json()
        assert values["prior"]["kind"] == "categorical"
        assert values["environments"] == 4
    assert isinstance(settings("sog-gail"), SOGGAIL)
    assert isinstance(settings("infogail"), InfoGAIL)
