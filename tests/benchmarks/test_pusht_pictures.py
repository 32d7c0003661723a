"""Pictures of PushT: what they show, and the encoder that shifts them."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

import manyways
from manyways.networks.encoders import fixed_features
from pusht_pictures import Shifted, draw, make, shifted


def test_both_pictures_of_a_window_are_shifted_alike_by_a_pixel_at_most():
    pictures = torch.zeros(200, 9, 9, 3)
    pictures[:, 4, 5] = 1
    moved = shifted(pictures)
    places = moved[..., 0].nonzero()[:, 1:]
    assert len(places) == 200
    assert torch.equal(places[::2], places[1::2])
    assert len(places.unique(dim=0)) == 9
    assert (places - torch.tensor([4, 5])).abs().max() == 1
    assert torch.equal(shifted(torch.ones(3, 9, 9, 3)), torch.ones(3, 9, 9, 3))  # an odd number, and edges


def test_the_encoder_shifts_in_training_only_and_keeps_the_agents_place():
    rng = np.random.default_rng(0)
    pixels = rng.integers(256, size=(20, 20, 96, 96, 3), dtype=np.uint8)
    places = rng.normal(size=(20, 20, 2))
    pairs = [({"agent_pos": o, "pixels": p}, o + 1) for o, p in zip(places, pixels, strict=True)]
    data = manyways.Demonstrations.from_arrays(pairs)
    settings = manyways.SOGBC(
        prior=manyways.Categorical(1), horizon=2, iterations=2, encoder="pusht_pictures:Shifted", linear=True
    )
    network = settings.start(data).network
    assert isinstance(network.encoder, Shifted)
    assert fixed_features(network.encoder, network.feature_size) == slice(128, 130)
    windows = network.observations({name: torch.from_numpy(array[:6]) for name, array in data.observations.items()})
    features = [network.eval().features(windows) for _ in range(2)]
    torch.testing.assert_close(*features)
    torch.testing.assert_close(features[0][:, 128:], windows["agent_pos"])
    assert (network.train().features(windows)[:, :128] != features[0][:, :128]).any()


def test_a_drawn_state_is_what_the_environment_shows():
    pytest.importorskip("gym_pusht")
    world, other = make(pictures=True).unwrapped, make(pictures=True).unwrapped
    other.reset(seed=0)
    seen, _ = world.reset(seed=5)
    assert isinstance(world.observation_space, spaces.Dict)
    for step in range(40):
        seen, *_ = world.step(np.array(world.block.position) + 40 * np.sin(step))  # which pushes the block
    state = [*world.agent.position, *world.block.position, np.sin(world.block.angle), np.cos(world.block.angle)]
    assert (draw(other, np.array(state, np.float32)) != seen["pixels"]).mean() < 1e-3
