"""Search of continuous codes in demonstration steps a second, beside a reference written as the paper's code works.

The reference searches for one trajectory at a time: 64 of its steps, repeated for each of 100 candidates, through the
whole network with its value head and the action's distribution; coordinate after coordinate, three rounds. The bare
reference leaves the distribution out. Ours are the same search ("exact"), the same as a race, and SOG-BC's default,
which searches around the last code, 200 candidates of all numbers together. All run in turn in this process, so that
they meet the same machine.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from gymnasium.spaces import Box
from matplotlib.figure import Figure
from torch import Tensor

from common import RESULTS, write_result
from manyways.networks.policy_network import PolicyNetwork
from manyways.search.factored import search_batch
from manyways.search.settings import Search
from throughput import ReferenceNetwork, speed

SIZES = (("HalfCheetah-Vel", 17, 6, 1), ("FetchReach", 10, 4, 3))  # name, observation, action, code
TRAJECTORIES, STEPS = 64, 64
PAPER = Search(near="prior", block=1)  # Algorithm 4, as a race; 100 candidates a number, 3 rounds
EXACT = replace(PAPER, race=False)
ROUNDS = 15
DIMENSIONS = (1, 2, 4, 8, 16)
CANDIDATES = (25, 50, 100, 200, 400, 800)


def reference_search(
    network: ReferenceNetwork, states: Tensor, actions: Tensor, search: Search, dimension: int, bare: bool
) -> Tensor:
    """Search one trajectory's code, (dimension,), from steps of it."""
    code = torch.zeros(dimension)
    for block in search.blocks(dimension):
        candidates = code.repeat(search.candidates, 1)
        candidates[:, block] = torch.randn(search.candidates, block.stop - block.start)
        every_state = states[:, None].expand(-1, search.candidates, -1).flatten(0, 1)
        every_code = candidates.expand(len(states), -1, -1).flatten(0, 1)
        with torch.no_grad():
            predicted, *_ = network(every_state, every_code, bare)
            errors = (predicted.view(len(states), search.candidates, -1) - actions[:, None]).square().mean(dim=-1)
        code = candidates[errors.sum(dim=0).argmin()]
    return code


def batch(observation: int, action: int, dimension: int) -> tuple[PolicyNetwork, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    spaces = (Box(-np.inf, np.inf, (size,), np.float32) for size in (observation, action))
    network = PolicyNetwork(*spaces, dimension, continuous=True)
    network.initialize(generator)
    states = torch.randn(TRAJECTORIES, STEPS, observation, generator=generator)
    with torch.no_grad():
        codes = torch.randn(TRAJECTORIES, dimension, generator=generator)
        actions = network.decode(network.state_features(states) + network.code(codes)[:, None])
    return network, states, actions, torch.zeros(TRAJECTORIES, dimension)


def ours(network: PolicyNetwork, states: Tensor, actions: Tensor, start: Tensor, search: Search) -> Tensor:
    with torch.no_grad():
        return search_batch(network, network.state_features(states), actions, search, start)


def compare(name: str, observation: int, action: int, dimension: int, rounds: int) -> dict[str, Any]:
    network, states, actions, start = batch(observation, action, dimension)
    reference = ReferenceNetwork(observation, action, dimension)
    works: dict[str, tuple[Callable[[], object], int]] = {
        kind: (partial(ours, network, states, actions, start, search), TRAJECTORIES * STEPS)
        for kind, search in (("exact", EXACT), ("raced", PAPER), ("default", Search()))
    }
    minibatches = 6
    for kind, bare in (("reference", False), ("bare_reference", True)):
        works[kind] = (
            lambda bare=bare: [
                reference_search(reference, states[i], actions[i], EXACT, dimension, bare) for i in range(minibatches)
            ],
            minibatches * STEPS,
        )
    speeds: dict[str, list[float]] = {kind: [] for kind in works}
    for round_ in range(rounds + 1):
        for kind, (work, steps) in works.items():
            measured = speed(work, steps)
            if round_:  # the first is the warm-up
                speeds[kind].append(measured)
    result: dict[str, Any] = {"size": name, "observation": observation, "action": action, "code": dimension}
    for kind in works:
        result[f"{kind}_steps_per_second"] = round(statistics.median(speeds[kind]))
    for kind in ("exact", "raced", "default"):
        for against in ("reference", "bare_reference"):
            pairs = zip(speeds[kind], speeds[against], strict=True)
            result[f"{kind}_over_{against}"] = round(statistics.median(a / b for a, b in pairs), 1)
    return result


def growth(most_dimensions: int, most_candidates: int) -> dict[str, list[dict[str, Any]]]:
    """Time the search for growing codes and growing numbers of candidates: the quickest of eight calls each."""
    result: dict[str, list[dict[str, Any]]] = {"dimension": [], "candidates": []}
    cases = [("dimension", dimension, 100) for dimension in DIMENSIONS if dimension <= most_dimensions]
    cases += [("candidates", 2, candidates) for candidates in CANDIDATES if candidates <= most_candidates]
    for name, dimension, candidates in cases:
        made = batch(17, 6, dimension)
        row: dict[str, Any] = {"dimension": dimension, "candidates": candidates}
        for kind, search in (("exact", EXACT), ("raced", PAPER), ("default", Search())):
            seconds = []
            for _ in range(8):
                began = time.perf_counter()
                ours(*made, replace(search, candidates=candidates))
                seconds.append(time.perf_counter() - began)
            row[f"{kind}_seconds"] = round(min(seconds), 4)
        result[name].append(row)
        print(row)
    return result


def draw(measured: dict[str, list[dict[str, Any]]]) -> Figure:
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    titles = {"dimension": "100 candidates a number of the code, 3 rounds", "candidates": "a code of 2 numbers"}
    for panel, (name, rows) in zip(figure.subplots(1, 2), measured.items(), strict=True):
        x = np.array([row[name] for row in rows])
        for kind, colour in (("exact", "#0072B2"), ("raced", "#D55E00"), ("default", "#009E73")):
            panel.plot(x, [row[f"{kind}_seconds"] for row in rows], "o-", color=colour, label=kind)
        panel.plot(x, x * rows[-1]["exact_seconds"] / x[-1], ":", color="#777777", label="in proportion")
        panel.set(title=titles[name], xlabel=name, ylabel="seconds for 64 trajectories of 64 steps")
        panel.set(xscale="log", yscale="log")
        panel.set_xticks(x, labels=[str(value) for value in x])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
        panel.legend(frameon=False)
    return figure


def main(
    *,
    rounds: int = ROUNDS,
    most_dimensions: int = DIMENSIONS[-1],
    most_candidates: int = CANDIDATES[-1],
    out: Path = RESULTS,
) -> None:
    """Measure, and write continuous-search.json and its picture.

    Args:
        rounds: of the comparison, after one to warm up.
        most_dimensions: of the code, to which growth is measured.
        most_candidates: to which growth is measured.
        out: folder of the results.
    """
    result: dict[str, Any] = {"rounds": rounds, "torch": torch.__version__, "sizes": []}
    for size in SIZES:
        result["sizes"].append(compare(*size, rounds))
        print(json.dumps(result["sizes"][-1], indent=2))
    result["growth"] = growth(most_dimensions, most_candidates)
    write_result(out / "continuous-search.json", result, seeds=[0])
    draw(result["growth"]).savefig(out / "continuous-search.png", dpi=110)


if __name__ == "__main__":
    tyro.cli(main)
