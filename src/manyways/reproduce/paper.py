"""The numbers of Tables 1 to 3 (Vahabpour et al. 2022, arXiv:2205.03484, Section 4.2), and names of its tasks.

The row Walker2d-Vel-6 is printed over another line, so its digits are uncertain; ratios to the expert are not affected
by more than a hundredth.
"""

from typing import Any

SOURCE = "Vahabpour et al. 2022, arXiv:2205.03484"
ALGORITHMS = ("sog-bc", "sog-gail", "infogail", "vae-gail")
NAMES = {
    "circles": "Circles",
    "circles-images": "Circles from pictures",
    "ant-fwd-back": "Ant-Fwd-Back",
    "ant-dir-6": "Ant-Dir-6",
    "halfcheetah-fwd-back": "HalfCheetah-Fwd-Back",
    "walker2d-vel-6": "Walker2d-Vel-6",
    "hopper-vel-6": "Hopper-Vel-6",
    "humanoid-dir-6": "Humanoid-Dir-6",
    "fetch-reach": "FetchReach",
    "halfcheetah-vel": "HalfCheetah-Vel",
}

_Pair = tuple[float, float]

# Mean and standard deviation of the return.
TABLE_1: dict[str, dict[str, _Pair]] = {
    "circles": {
        "sog-bc": (992.1, 1.0),
        "sog-gail": (985.9, 10.8),
        "infogail": (766.0, 67.9),
        "vae-gail": (912.3, 8.6),
        "expert": (998.3, 0.1),
    },
    "ant-fwd-back": {
        "sog-bc": (1165.2, 32.1),
        "sog-gail": (1101.0, 61.7),
        "infogail": (220.6, 296.3),
        "vae-gail": (-385.3, 67.0),
        "expert": (1068.7, 109.7),
    },
    "ant-dir-6": {
        "sog-bc": (1073.2, 206.6),
        "sog-gail": (1023.2, 166.1),
        "infogail": (-14.5, 87.6),
        "vae-gail": (-572.9, 62.9),
        "expert": (1031.7, 253.7),
    },
    "halfcheetah-fwd-back": {
        "sog-bc": (221.6, 957.3),
        "sog-gail": (1532.6, 148.5),
        "infogail": (484.2, 919.4),
        "vae-gail": (84.0, 152.2),
        "expert": (1686.0, 135.4),
    },
    "walker2d-vel-6": {
        "sog-bc": (1913.3, 402.1),
        "sog-gail": (1698.7, 650.0),
        "infogail": (947.3, 105.3),
        "vae-gail": (1182.6, 68.0),
        "expert": (1964.6, 394.6),
    },
    "hopper-vel-6": {
        "sog-bc": (2222.3, 431.1),
        "sog-gail": (2015.3, 547.3),
        "infogail": (1216.8, 70.8),
        "vae-gail": (1065.8, 30.1),
        "expert": (2229.7, 438.6),
    },
    "humanoid-dir-6": {
        "sog-bc": (5996.0, 326.4),
        "sog-gail": (5457.8, 640.9),
        "infogail": (1333.9, 461.4),
        "vae-gail": (2285.5, 946.1),
        "expert": (6206.6, 292.6),
    },
}

# FetchReach: share of the goals that are hit (InfoGAIL has none: it does not embed trajectories), and entropy in nats.
TABLE_2: dict[str, dict[str, float | None]] = {
    "sog-bc": {"hit_rate": 1.0, "entropy_nats": 2.05},
    "sog-gail": {"hit_rate": 0.97, "entropy_nats": 1.89},
    "infogail": {"hit_rate": None, "entropy_nats": 0.27},
    "vae-gail": {"hit_rate": 0.186, "entropy_nats": 0.85},
    "expert": {"hit_rate": 1.0, "entropy_nats": 2.18},
}

# HalfCheetah-Vel: mutual information of the code and the velocity, in nats.
TABLE_3: dict[str, dict[str, float | None]] = {
    "sog-bc": {"mutual_information_nats": 1.584},
    "sog-gail": {"mutual_information_nats": 1.431},
    "infogail": {"mutual_information_nats": 0.145},
    "vae-gail": {"mutual_information_nats": 0.750},
}

# λ_S and λ_I that the paper tried (Appendix B).
WEIGHTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


def ratio(task: str, algorithm: str) -> float | None:
    """Return the paper's return over its own expert's (Table 1), None where it has none."""
    row = TABLE_1.get(task, {})
    return None if algorithm not in row else row[algorithm][0] / row["expert"][0]


def numbers(table: int, task: str, algorithm: str) -> dict[str, Any]:
    """Return the paper's numbers for a cell, by the names that result files use; {} where it has none.

    Args:
        table: 1, 2 or 3.
        task: of the cell.
        algorithm: of the cell, or "expert".
    """
    if table == 1:
        cell = TABLE_1.get(task, {}).get(algorithm)
        return {} if cell is None else {"return_mean": cell[0], "return_std": cell[1], "ratio": ratio(task, algorithm)}
    return dict((TABLE_2 if table == 2 else TABLE_3).get(algorithm, {}))
