"""The three propositions of Appendix E, on networks whose Lipschitz constant is known."""

import copy
import math

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

X, Z, Y = 3, 2, 4  # dimensions of x, z and y
QUICK = settings(max_examples=40, deadline=None)
SEEDS = st.integers(0, 2**31 - 1)


class Network(nn.Module):
    """f(z, x), Lipschitz in x: tanh has slopes up to 1, a layer stretches by its largest singular value at most."""

    def __init__(self, generator):
        super().__init__()
        self.first = nn.Linear(X + Z, 16, dtype=torch.float64)
        self.second = nn.Linear(16, Y, dtype=torch.float64)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.7, generator=generator)

    def forward(self, codes, x):
        return self.second(self.first(torch.cat([x, codes], dim=-1)).tanh())

    @property
    def lipschitz(self):
        norms = (torch.linalg.matrix_norm(w.detach(), 2) for w in (self.first.weight[:, :X], self.second.weight))
        return math.prod(float(norm) for norm in norms)


def distance(network, x, y, code):
    """Return d(x, y, z; θ) of points (n, ...) under one code."""
    with torch.no_grad():
        return (network(code.expand(len(x), -1), x) - y).norm(dim=-1)


def draw(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def neighbourhood(generator, x, y, to_x, to_y, count=60):
    """Draw points of B(x, y; δ_x, δ_y) up to its edge, the first of them its middle."""

    def around(middle, radius):
        directions = nn.functional.normalize(draw(generator, count, middle.shape[-1]), dim=1)
        lengths = torch.rand(count, 1, generator=generator, dtype=torch.float64) ** 0.25 * radius * 0.999999
        lengths[0] = 0
        return middle + directions * lengths

    return around(x, to_x), around(y, to_y)


@QUICK
@given(seed=SEEDS, delta_x=st.floats(1e-3, 3), delta_y=st.floats(1e-3, 3))
def test_near_points_have_near_distances_under_the_same_code(seed, delta_x, delta_y):
    generator = torch.Generator().manual_seed(seed)
    network, code = Network(generator), draw(generator, Z)
    x, y = draw(generator, X), draw(generator, Y)
    xs, ys = neighbourhood(generator, x, y, delta_x / network.lipschitz, delta_y)
    distances = distance(network, xs, ys, code)
    assert ((distances - distances[0]).abs() < delta_x + delta_y).all()


@QUICK
@given(seed=SEEDS, share=st.floats(0.05, 0.95))
def test_near_points_have_the_same_winning_code(seed, share):
    generator = torch.Generator().manual_seed(seed)
    network, codes = Network(generator), draw(generator, 2, Z)
    x, y = draw(generator, X), draw(generator, Y)
    loses, wins = sorted((float(distance(network, x[None], y[None], code)), i) for i, code in enumerate(codes))[::-1]
    ratio = loses[0] / wins[0]
    assume(ratio > 1.05)
    constant = (1 + ratio) / 2  # C of the proposition
    eta = 0.5
    while (constant - eta) * (1 - eta / (1 - eta)) <= 1:  # the end of the proof
        eta /= 2
    delta = 0.999 * eta * wins[0]
    xs, ys = neighbourhood(generator, x, y, share * delta / network.lipschitz, (1 - share) * delta)
    winner, loser = (distance(network, xs, ys, codes[index]) for index in (wins[1], loses[1]))
    assert (loser > winner).all()


@QUICK
@given(seed=SEEDS, share=st.floats(0.05, 0.95), rate=st.floats(1e-4, 1e-2))
def test_a_step_for_one_point_helps_its_neighbours(seed, share, rate):
    generator = torch.Generator().manual_seed(seed)
    before, code = Network(generator), draw(generator, Z)
    x, y = draw(generator, X), draw(generator, Y)
    after = copy.deepcopy(before)
    (after(code, x) - y).square().sum().backward()
    with torch.no_grad():
        for parameter in after.parameters():
            parameter -= rate * parameter.grad
    old, new = (float(distance(network, x[None], y[None], code)) for network in (before, after))
    assume(old - new > 1e-9)
    delta = 0.999 * (old - new)
    lipschitz = max(before.lipschitz, after.lipschitz)
    xs, ys = neighbourhood(generator, x, y, share * delta / lipschitz, (1 - share) * delta)
    worst_before = distance(before, xs, ys, code).max()
    assert (distance(after, xs, ys, code) < worst_before).all()
