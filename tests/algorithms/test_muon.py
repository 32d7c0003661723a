import pytest
import torch

from manyways.algorithms.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(16, 16), (40, 10), (10, 40), (5, 1)])
def test_singular_values_become_equal(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    # Singular values from 1 to 1/50: what Adam would follow fifty times slower.
    matrix = u @ torch.diag(torch.linspace(1, 0.02, len(s), dtype=torch.float64)) @ vh
    result = orthogonalize(matrix)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6
    assert values.max() < 1.3
    torch.testing.assert_close(u.T @ result @ vh.T, torch.diag((u.T @ result @ vh.T).diagonal()), atol=1e-9, rtol=0)


def test_the_rate_is_the_updates_root_mean_square():
    parameter = torch.nn.Parameter(torch.randn(64, 32))
    before = parameter.detach().clone()
    parameter.grad = torch.randn(64, 32)
    Muon([parameter], lr=0.01).step()
    rms = (parameter.detach() - before).square().mean().sqrt()
    assert rms == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize(
    ("shape", "norm"), [((128, 128), 1), ((128, 20), 1), ((256, 256), 1), ((256, 512), 0.5**0.5), ((32, 32), 0.5)]
)
def test_with_a_width_the_steps_of_wider_matrices_are_not_longer(shape, norm):
    parameter = torch.nn.Parameter(torch.zeros(shape))
    parameter.grad = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    Muon([parameter], lr=0.01, width=128).step()
    values = torch.linalg.svdvals(parameter.detach()) / (0.01 * 128**0.5)
    assert values.mean() == pytest.approx(norm, rel=0.2)


def test_an_ill_conditioned_problem_is_solved():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 12, generator=generator) * torch.logspace(0, -2, 12)
    targets = inputs @ torch.randn(12, 12, generator=generator)
    losses = {}
    for name in ("muon", "adam"):
        weight = torch.nn.Parameter(torch.zeros(12, 12))
        optimizer = Muon([weight], lr=0.02) if name == "muon" else torch.optim.Adam([weight], lr=0.02)
        for step in range(200):
            loss = (inputs @ weight - targets).square().mean()
            optimizer.zero_grad()
            loss.backward()
            for group in optimizer.param_groups:
                group["lr"] = 0.02 * (1 - step / 200)
            optimizer.step()
        losses[name] = loss.item()
    assert losses["muon"] < 0.01 * targets.square().mean()
