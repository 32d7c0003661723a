"""Search and training in demonstration steps a second, beside a reference written the way the paper's code works.

The reference takes minibatches of 64 steps of one trajectory, repeats the states for every code, and runs the whole
policy on them: the value head too, and the action's distribution with its log-probability, which the paper's policy
returns at every call. The bare reference leaves the distribution out, and is the stricter one. All run in turn in this
process, so that they meet the same machine.
"""

import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor, nn

import manyways
from common import RESULTS, write_result
from manyways.networks.policy_network import PolicyNetwork
from manyways.search.factored import trajectory_losses

SIZES = (("Ant-Dir-6", 27, 8, 6), ("Circles", 10, 2, 3))  # name, observation, action, codes
ROUNDS = 25
CODES = (2, 4, 8, 16, 32, 64, 128, 256)
TRAJECTORIES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)


def random_demonstrations(trajectories: int, steps: int, observation: int, action: int) -> manyways.Demonstrations:
    rng = np.random.default_rng(0)
    total = trajectories * steps
    return manyways.Demonstrations(
        rng.standard_normal((total, observation), dtype=np.float32),
        rng.standard_normal((total, action), dtype=np.float32),
        np.full(trajectories, steps),
    )


class ReferenceNetwork(nn.Module):
    """The released layout: the policy of Figure 8, and a value head on the states."""

    def __init__(self, observation: int, action: int, codes: int, hidden: int = 128) -> None:
        super().__init__()
        self.state = nn.Sequential(nn.Linear(observation, hidden), nn.Tanh(), nn.Linear(hidden, hidden))
        self.code = nn.Linear(codes, hidden)
        self.action = nn.Sequential(nn.Tanh(), nn.Linear(hidden, action))
        self.log_std = nn.Parameter(torch.zeros(action))
        self.value = nn.Sequential(
            nn.Linear(observation, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, 1)
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.orthogonal_(layer.weight, math.sqrt(2))
                nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor, codes: Tensor, bare: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return actions, values and, unless bare, the log-probability of the actions."""
        mean, value = self.action(self.state(states) + self.code(codes)), self.value(states)
        if bare:
            return mean, value, None
        distribution = torch.distributions.Normal(mean, self.log_std.exp().expand_as(mean))
        return mean, value, distribution.log_prob(mean).sum(dim=-1, keepdim=True)


class Reference:
    """Algorithm 2 a minibatch at a time."""

    batch = 64

    def __init__(self, demonstrations: manyways.Demonstrations, codes: int, bare: bool) -> None:
        self.demonstrations = demonstrations
        self.bare = bare
        spaces = (demonstrations.observation_space, demonstrations.action_space)
        self.network = ReferenceNetwork(*map(_size, spaces), codes)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.codes = torch.eye(codes)
        self.rng = np.random.default_rng(0)

    def minibatch(self) -> tuple[Tensor, Tensor]:
        """Draw 64 steps of one trajectory."""
        observations, actions = self.demonstrations[self.rng.integers(len(self.demonstrations))]
        rows = self.rng.integers(len(actions), size=self.batch)
        return torch.from_numpy(observations[rows]), torch.from_numpy(actions[rows])

    def search(self, states: Tensor, actions: Tensor) -> Tensor:
        """Return the code with the least summed loss, one row a step."""
        steps, count = len(states), len(self.codes)
        every_state = states[:, None].expand(-1, count, -1).reshape(steps * count, -1)
        every_code = self.codes.expand(steps, -1, -1).reshape(steps * count, -1)
        with torch.no_grad():
            predicted, *_ = self.network(every_state, every_code, self.bare)
            errors = (predicted.view(steps, count, -1) - actions[:, None]).square().mean(dim=-1)
        return self.codes[errors.sum(dim=0).argmin()].expand(steps, -1)

    def train(self, states: Tensor, actions: Tensor) -> None:
        """Take one gradient step."""
        predicted, *_ = self.network(states, self.search(states, actions), self.bare)
        loss = (predicted - actions).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def _size(space: Any) -> int:
    return int(space.shape[0])


def speed(work: Callable[[], object], steps: int) -> float:
    """Return steps a second of one call."""
    began = time.perf_counter()
    work()
    return steps / (time.perf_counter() - began)


def compare(name: str, observation: int, action: int, codes: int, rounds: int, trajectories: int) -> dict[str, Any]:
    demonstrations = random_demonstrations(trajectories, 200, observation, action)
    settings = manyways.SOGBC(prior=manyways.Categorical(codes), iterations=10**6, init="random")
    training = settings.start(demonstrations)
    network, enumerated = training.network, torch.eye(codes)
    in_batch = training.steps_per_iteration
    iterations, minibatches = 40, 150

    works: dict[str, tuple[Callable[[], object], int]] = {
        "search": (lambda: trajectory_losses(network, demonstrations, enumerated), demonstrations.steps),
        "training": (lambda: [training.step() for _ in range(iterations)], iterations * in_batch),
    }
    for name_, bare in (("reference", False), ("bare_reference", True)):
        reference = Reference(demonstrations, codes, bare)
        steps = minibatches * reference.batch
        works[f"search_{name_}"] = (lambda r=reference: [r.search(*r.minibatch()) for _ in range(minibatches)], steps)
        works[f"training_{name_}"] = (lambda r=reference: [r.train(*r.minibatch()) for _ in range(minibatches)], steps)
    speeds: dict[str, list[float]] = {key: [] for key in works}
    for round_ in range(rounds + 1):
        for key, (work, steps) in works.items():
            measured = speed(work, steps)
            if round_:  # the first is the warm-up
                speeds[key].append(measured)
    result: dict[str, Any] = {"size": name, "observation": observation, "action": action, "codes": codes}
    for key in works:
        result[f"{key}_steps_per_second"] = round(statistics.median(speeds[key]))
    for key in ("search", "training"):
        for against in ("reference", "bare_reference"):
            pairs = zip(speeds[key], speeds[f"{key}_{against}"], strict=True)
            result[f"{key}_over_{against}"] = round(statistics.median(a / b for a, b in pairs), 1)
    return result


def one_search(trajectories: int, steps: int, codes: int) -> dict[str, float]:
    """Search a whole data set; report its seconds and by how much it raised this process's peak memory."""
    demonstrations = random_demonstrations(trajectories, steps, 27, 8)
    network = PolicyNetwork(demonstrations.observation_space, demonstrations.action_space, codes)
    network.initialize(torch.Generator().manual_seed(0))
    trajectory_losses(network, random_demonstrations(50, 100, 27, 8), torch.eye(codes))  # warm-up
    before = peak_mebibytes(reset=True)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        trajectory_losses(network, demonstrations, torch.eye(codes))
        seconds.append(time.perf_counter() - began)
    return {
        "trajectories": trajectories,
        "steps": demonstrations.steps,
        "codes": codes,
        "seconds": round(statistics.median(seconds), 4),
        "peak_growth_mebibytes": round(peak_mebibytes() - before, 1),
    }


def peak_mebibytes(reset: bool = False) -> float:
    """Return this process's peak resident memory, since it was last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def growth(most_codes: int, most_trajectories: int) -> dict[str, list[dict[str, float]]]:
    """Search data sets of growing sizes, each in a process of its own so that its peak memory is its own."""
    result: dict[str, list[dict[str, float]]] = {"codes": [], "trajectories": []}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for codes in (size for size in CODES if size <= most_codes):
            result["codes"].append(pool.apply(one_search, (1_000, 50, codes)))
            print(result["codes"][-1])
        for trajectories in (size for size in TRAJECTORIES if size <= most_trajectories):
            result["trajectories"].append(pool.apply(one_search, (trajectories, 50, 6)))
            print(result["trajectories"][-1])
    return result


def draw(measured: dict[str, list[dict[str, float]]]) -> Figure:
    figure = Figure(figsize=(10, 6.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex="col")
    titles = {"codes": "1,000 trajectories of 50 steps", "trajectories": "6 codes, trajectories of 50 steps"}
    for column, (name, rows) in enumerate(measured.items()):
        x = [row[name] for row in rows]
        seconds = np.array([row["seconds"] for row in rows])
        panels[0][column].plot(x, seconds, "o-", color="#0072B2", label="measured")
        linear = np.array(x) * (seconds[-1] / x[-1])
        panels[0][column].plot(x, linear, ":", color="#777777", label="in proportion to the largest")
        panels[0][column].set(title=titles[name], xscale="log", yscale="log", ylabel="seconds to search all")
        panels[0][column].legend(frameon=False)
        grown = [row["peak_growth_mebibytes"] for row in rows]
        panels[1][column].plot(x, grown, "o-", color="#D55E00")
        panels[1][column].set(xscale="log", xlabel=name, ylabel="growth of peak memory (MiB)", ylim=(0, None))
    for panel in panels.flat:
        panel.grid(alpha=0.3)
    return figure


def main(
    *,
    rounds: int = ROUNDS,
    trajectories: int = 500,
    most_codes: int = CODES[-1],
    most_trajectories: int = TRAJECTORIES[-1],
    out: Path = RESULTS,
) -> None:
    """Measure, and write throughput.json and scaling.png.

    Args:
        rounds: of the comparison, after one to warm up.
        trajectories: that are compared on.
        most_codes: to which growth is measured.
        most_trajectories: to which growth is measured.
        out: folder of the results.
    """
    result: dict[str, Any] = {"rounds": rounds, "torch": torch.__version__, "sizes": []}
    for size in SIZES:
        result["sizes"].append(compare(*size, rounds, trajectories))
        print(json.dumps(result["sizes"][-1], indent=2))
    result["growth"] = growth(most_codes, most_trajectories)
    write_result(out / "throughput.json", result, seeds=[0])
    draw(result["growth"]).savefig(out / "scaling.png", dpi=110)


if __name__ == "__main__":
    tyro.cli(main)
