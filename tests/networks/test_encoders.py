"""The encoder slot: any module, observations of any shape, in every algorithm; kept and read again."""

import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import nn

import manyways
from manyways import Categorical, Demonstrations, InputError, Policy
from manyways.demonstrations.spaces import box
from manyways.evaluation.metrics import purity
from manyways.networks import base
from manyways.networks.encoders import Convolutional, Flat, features_of, fixed_features, make_encoder

QUICK = {
    "sog-bc": {"iterations": 150, "hidden": 16, "trajectories_per_batch": 8, "steps_per_trajectory": 8},
    "bc": {"iterations": 3, "hidden": 16},
    "mdn": {"iterations": 3, "hidden": 16, "steps_per_batch": 16},
    "bet": {"iterations": 3, "hidden": 16, "heads": 2, "layers": 1, "steps_per_batch": 8, "history": 3},
    "vq-bet": {"iterations": 3, "hidden": 16, "heads": 2, "layers": 1, "steps_per_batch": 8, "history": 3, "bins": 4},
    "diffusion": {"iterations": 3, "hidden": 16, "steps_per_batch": 16},
    **{
        name: {
            "environments": 2,
            "steps_per_update": 4,
            "total_steps": 16,
            "pretraining": 3,
            "discriminator_batch": 4,
            "discriminator_steps": 2,
            "hidden": 16,
        }
        for name in ("gail", "sog-gail", "infogail", "vae-gail")
    },
}
QUICK["vae-gail"] |= {"vae_iterations": 2, "vae_batch": 2, "vae_hidden": 4, "decoder_hidden": 4}
ALL = sorted(QUICK)


class Places(nn.Module):
    """A user's own encoder: the place of the light in an image, beside the other entry."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, inputs):
        image, numbers = (inputs["image"] + 1) / 2, inputs["numbers"]
        size = image.shape[-1]
        x = torch.arange(size, device=image.device) - size / 2
        places = [(image * axis).sum(dim=(1, 2)) / image.sum(dim=(1, 2)) for axis in (x, x[:, None])]
        return torch.cat([self.scale * torch.stack(places, dim=1), numbers], dim=1)


def lights(trajectories=16, steps=12, size=16, seed=0, discrete=False):
    """Return trajectories that go toward a light in a picture, or away from it, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(trajectories) % 2
    pairs = []
    for label in labels:
        places = rng.integers(0, size, steps)
        image = np.zeros((steps, size, size), np.uint8)
        image[np.arange(steps), 3, places] = 255
        targets = (places - size / 2) * (1 if label else -1)
        actions = (targets > 0).astype(np.int64) if discrete else np.stack([targets, np.ones(steps)], axis=1)
        pairs.append(({"image": image, "numbers": rng.normal(size=(steps, 2))}, actions))
    return Demonstrations.from_arrays(pairs), labels


class Lights(VectorEnv):
    """An environment of such observations, in which nothing happens; an episode lasts 5 steps."""

    def __init__(self, num_envs=2, size=16):
        self.metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}
        self.num_envs = num_envs
        self.single_observation_space = gym.spaces.Dict(
            {"image": gym.spaces.Box(0, 255, (size, size), np.uint8), "numbers": box(2)}
        )
        self.single_action_space = gym.spaces.Box(-9, 9, (2,))
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed=None, options=None):
        self.single_observation_space.seed(seed)
        self.steps = np.zeros(self.num_envs, int)
        return self._observe(), {}

    def _observe(self):
        samples = [self.single_observation_space.sample() for _ in range(self.num_envs)]
        return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}

    def step(self, actions):
        self.steps = np.where(self.steps == 5, 0, self.steps + 1)
        nothing = np.zeros(self.num_envs)
        return self._observe(), nothing, nothing.astype(bool), self.steps == 5, {}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ALL)
def test_every_algorithm_takes_pictures_and_dictionaries_with_an_encoder(name, tmp_path):
    algorithm = manyways.get_algorithm(name)
    prior = {"prior": Categorical(2)} if algorithm.has_codes else {}
    demonstrations, labels = lights()
    encoder = Places()
    settings = algorithm(**QUICK[name], **prior, encoder=encoder)
    policy = settings.fit(demonstrations, Lights() if algorithm.runs_environments else None)
    assert encoder.scale.item() == 1  # the caller's own is copied, not trained
    one = {"image": demonstrations.observations["image"][0], "numbers": demonstrations.observations["numbers"][0]}
    many = {key: array[:3] for key, array in demonstrations.observations.items()}
    action, state = policy.predict(one, deterministic=True)
    assert action.shape == (2,)
    actions, states = policy.predict(many)
    assert actions.shape == (3, 2)
    policy.predict(many, states)
    if name == "sog-bc":
        assert purity(policy.losses(demonstrations).argmin(axis=1), labels) == 1
        assert policy.losses(demonstrations).min(axis=1).mean() < 0.3 * policy.uninformed_loss
    policy.save(tmp_path)
    with pytest.raises(InputError, match=r"the encoder Places, which is not in its files; give it: load_policy"):
        Policy.load(tmp_path)
    again = Policy.load(tmp_path, encoder=Places())
    state = None if policy.prior is None else state  # without codes a state holds the actions still to be executed
    np.testing.assert_array_equal(again.predict(one, state, deterministic=True)[0], action)
    assert settings.to_json()["encoder"] == "Places"


def test_images_stay_bytes_in_memory_and_get_the_convolutional_encoder(tmp_path):
    demonstrations, labels = lights()
    pictures = Demonstrations(demonstrations.observations["image"], demonstrations.actions, demonstrations.lengths)
    training = manyways.SOGBC(prior=Categorical(2), **QUICK["sog-bc"]).start(pictures)
    assert training._observations.dtype == torch.uint8
    assert isinstance(training.network.encoder, Convolutional)
    while not training.finished:
        training.step()
    policy = training.policy()
    assert purity(policy.losses(pictures).argmin(axis=1), labels) > 0.9
    policy.save(tmp_path)
    again = Policy.load(tmp_path)  # an encoder that ships is made by its name
    np.testing.assert_array_equal(again.losses(pictures), policy.losses(pictures))


def test_training_with_an_encoder_goes_on_bit_for_bit():
    demonstrations, _ = lights(8)
    settings = manyways.SOGBC(prior=Categorical(2), iterations=6, hidden=8, steps_per_trajectory=4, encoder="conv")
    whole = settings.start(demonstrations)
    for _ in range(3):
        whole.step()
    state = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    resumed = settings.start(demonstrations)
    resumed.load_state_dict(state)
    for training in (whole, resumed):
        while not training.finished:
            training.step()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize("name", ["sog-bc", "bc", "mdn"])
def test_choices_are_learned_by_cross_entropy(name, tmp_path):
    algorithm = manyways.get_algorithm(name)
    prior = {"prior": Categorical(2)} if algorithm.has_codes else {}
    demonstrations, labels = lights(discrete=True)
    settings = algorithm(**QUICK[name] | {"iterations": 200}, **prior, encoder=Places())
    policy = settings.fit(demonstrations)
    actions, _ = policy.predict({key: array[:50] for key, array in demonstrations.observations.items()})
    assert actions.shape == (50,)
    assert set(actions.tolist()) == {0, 1}
    if name == "sog-bc":
        losses = policy.losses(demonstrations)
        assert purity(losses.argmin(axis=1), labels) == 1
        assert losses.min(axis=1).mean() < 0.2 < policy.uninformed_loss == pytest.approx(np.log(2), abs=0.02)
        codes = losses.argmin(axis=1)[demonstrations.trajectory_of(np.arange(demonstrations.steps))]
        actions, _ = policy.predict(demonstrations.observations, np.eye(2)[codes], deterministic=True)
        assert (actions == demonstrations.actions).mean() > 0.95
    policy.save(tmp_path)
    again = Policy.load(tmp_path, encoder=Places())
    np.testing.assert_array_equal(
        again.predict(demonstrations.observations, deterministic=True)[0].shape, (demonstrations.steps,)
    )


def test_several_choices_at_once(tmp_path):
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(8, 30, 2))
    pairs = [(o, np.stack([o[:, 0] > 0, 2 * (o[:, 1] > 0)], axis=1).astype(int)) for o in observations]
    demonstrations = Demonstrations.from_arrays(pairs, choices=(2, 3))
    policy = manyways.BC(iterations=150, hidden=16).fit(demonstrations)
    actions, _ = policy.predict(demonstrations.observations, deterministic=True)
    assert (actions == demonstrations.actions).mean() > 0.95
    policy.save(tmp_path)
    assert Policy.load(tmp_path).action_space.nvec.tolist() == [2, 3]


@pytest.mark.parametrize("name", ["bet", "diffusion", "sog-gail"])
def test_algorithms_that_cannot_learn_choices_refuse_them(name):
    algorithm = manyways.get_algorithm(name)
    prior = {"prior": Categorical(2)} if algorithm.has_codes else {}
    settings = algorithm(**QUICK[name], **prior)
    with pytest.raises(InputError, match=f"{name} cannot learn discrete actions"):
        settings.fit(lights(discrete=True)[0], Lights() if algorithm.runs_environments else None)


def test_flat_observations_pass_through_the_papers_layers_unchanged():
    encoder = make_encoder(None, box(5))
    assert isinstance(encoder, Flat)
    assert features_of(encoder, box(5)) == 5
    assert list(encoder.parameters()) == []


def test_a_module_on_the_path_may_take_the_space_or_nothing(tmp_path, monkeypatch):
    (tmp_path / "encoders_without_space.py").write_text(
        "from torch import nn\n\n"
        "def make(): return nn.Linear(3, 4)\n\n"
        "def two(space, width): return nn.Linear(3, width)\n\n"
        "class Own(nn.Linear):\n    def __init__(self): super().__init__(3, 4)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "encoders_without_space", raising=False)
    for name in ("make", "Own"):
        assert features_of(make_encoder(f"encoders_without_space:{name}", box(3)), box(3)) == 4
    with pytest.raises(InputError, match=r"encoders_without_space:two takes \(space, width\); let it take the obs"):
        make_encoder("encoders_without_space:two", box(3))


def test_a_policy_is_not_read_with_another_encoder(tmp_path):
    demonstrations, _ = lights(8)
    manyways.SOGBC(prior=Categorical(2), encoder=Places(), iterations=2).fit(demonstrations).save(tmp_path)
    with pytest.raises(InputError, match=r"the encoder that was given does not fit the one in .* \(encoder"):
        Policy.load(tmp_path, encoder="flat")


def test_a_run_with_a_module_can_be_looked_at(tmp_path):
    demonstrations, _ = lights(8)
    settings = manyways.SOGBC(prior=Categorical(2), encoder=Places(), iterations=2)
    run = manyways.train(settings, tmp_path, data=demonstrations, loggers=())
    assert run.policy().losses(demonstrations).shape == (8, 2)
    opened = manyways.Run.open(tmp_path)
    with pytest.raises(InputError, match="commands find it if training names it as module:ATTRIBUTE"):
        opened.policy()
    opened.encoder = Places()
    assert opened.policy().losses(demonstrations).shape == (8, 2)


def test_an_encoder_by_name_or_from_a_module(tmp_path, monkeypatch):
    (tmp_path / "my_encoders.py").write_text(
        "from torch import nn\n\ndef make(space):\n    return nn.Linear(space.shape[0], 7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_encoders", raising=False)
    first, again = (make_encoder("my_encoders:make", box(3), seed=1) for _ in range(2))
    assert torch.equal(first.weight, again.weight)
    assert features_of(first, box(3)) == 7

    @manyways.register_encoder("doubled")
    class Doubled(nn.Module):
        def __init__(self, space):
            super().__init__()

        def forward(self, inputs):
            return 2 * inputs

    assert isinstance(make_encoder("doubled", box(3)), Doubled)


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("cubist", "there is no encoder 'cubist'; the encoders are flat, conv"),
        ("nowhere:make", "there is no encoder 'nowhere:make'"),
        ("math:pi", "the encoder math:pi is a float; give a torch.nn.Module"),
        ("conv", "the encoder 'conv' needs an image"),
        (nn.Linear, r"the encoder is <class .*Linear'>; give a torch.nn.Module"),
        (nn.Linear(99, 3), r"the encoder Linear cannot take a batch of observations, each numbers of shape \(3,\)"),
        (nn.Flatten(0), r"the encoder Flatten returns \(6,\) for 2 observations; let it return \(2, features\)"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_refused_in_a_sentence(encoder, message, demonstrations):
    with pytest.raises(InputError, match=message):
        manyways.SOGBC(prior=Categorical(2), encoder=encoder).start(demonstrations)


def test_the_linear_answer_is_to_numbers_and_not_to_what_an_encoder_learns():
    data, _ = lights()
    kinds = {"conv": 2, "flat": data.observations["image"][0].size + 2, Places(): 0}  # whose scale is learned
    for encoder, columns in kinds.items():
        network = manyways.SOGBC(
            prior=Categorical(1), encoder=encoder, history=2, horizon=2, linear=True, optimizer="adamw", hidden=16
        )
        network = network.start(data).network
        own = slice(network.feature_size - columns, network.feature_size)
        assert fixed_features(network.encoder, network.feature_size) == own
        weight = network.linear.weight.view(2, network.feature_size, -1)
        assert (weight[:, own] != 0).any() == (columns > 0)
        assert weight.count_nonzero() == weight[:, own].count_nonzero()


def test_the_held_out_loss_is_the_same_however_many_are_looked_at_together(monkeypatch):
    data, _ = lights(trajectories=30)
    for settings in (manyways.MDN(**QUICK["mdn"], horizon=2), manyways.SOGBC(prior=Categorical(2), **QUICK["sog-bc"])):
        training = settings.start(data)
        whole = training._held_out_loss(training.network.eval(), training.held_out)
        with monkeypatch.context() as patched:
            patched.setattr(base, "_OBSERVED_AT_ONCE", 258 * 5)
            assert training.network.at_once(100) == 5 // training.network.window
            parts = training._held_out_loss(training.network, training.held_out)
        assert parts == pytest.approx(whole, rel=1e-5)


def test_a_window_counts_in_what_is_looked_at_together():
    data, _ = lights()  # 258 numbers in an observation
    network = manyways.SOGBC(prior=Categorical(2), history=2, **QUICK["sog-bc"]).start(data).network
    assert network.at_once(100) == 100
    assert network.at_once(2**20) == 2**24 // 516
