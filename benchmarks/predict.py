"""Time one call of `predict` with a single observation: the paper's network, and one that plans.

Run it with one thread and nothing beside it. The networks have random weights, which take as long as trained ones.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

import manyways
from common import RESULTS, write_result
from manyways.demonstrations.spaces import box
from manyways.networks.policy_network import PolicyNetwork

PAPER = {"observation": 27, "action": 8, "codes": 6, "network": {"hidden": 128}}
PLANS = {
    "observation": 19,
    "action": 7,
    "codes": 3,
    "network": {"hidden": 128, "window": 2, "chunk": 16, "executed": 8},
}
WIDE = {
    "observation": 6,
    "action": 2,
    "codes": 1,
    "network": {"hidden": 512, "window": 2, "chunk": 16, "executed": 8, "blocks": 3, "details": 16, "linear": True},
}
NETWORKS: dict[str, dict[str, Any]] = {"paper": PAPER, "plans": PLANS, "plans, residual with details": WIDE}


@dataclass(frozen=True)
class Options:
    """What to time.

    Args:
        calls: of `predict` in a round.
        rounds: the median one counts, since other programs may disturb a part of them.
        out: the file of results.
    """

    calls: int = 4000
    rounds: int = 9
    out: Path = field(default=RESULTS / "predict.json")


def main(options: Options) -> None:
    """Time all, and write the result."""
    torch.set_num_threads(1)
    rows = {}
    for name, of in NETWORKS.items():
        rounds = [microseconds(of, options.calls) for _ in range(options.rounds)]
        rows[name] = {what: float(np.median([one[what] for one in rounds])) for what in ("median", "mean")}
    for name, row in rows.items():
        print(name, row)
    write_result(
        options.out, {"microseconds": rows}, seeds=[0], budget={"calls": options.calls, "rounds": options.rounds}
    )


def microseconds(of: dict[str, Any], calls: int) -> dict[str, float]:
    """Return the median and the mean time of a call, in microseconds; of plans most calls only take the next action."""
    network = PolicyNetwork(box(of["observation"]), box(of["action"]), of["codes"], **of["network"])
    network.initialize(torch.Generator().manual_seed(0))
    policy = manyways.Policy(network, manyways.Categorical(of["codes"]))
    observations = np.random.default_rng(0).standard_normal((calls, of["observation"])).astype(np.float32)
    state: Any = policy.code(0)
    times = []
    for observation in observations:
        began = time.perf_counter()
        _, state = policy.predict(observation, state, deterministic=True)
        times.append(1e6 * (time.perf_counter() - began))
    return {"median": round(float(np.median(times)), 1), "mean": round(float(np.mean(times)), 1)}


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
