"""Whether a point's last winner helps: Algorithm 4 anew in each epoch beside a local search, at about equal cost."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from sklearn.datasets import load_digits

import manyways
from common import RESULTS, write_result
from manyways.reproduce.image_models import generator
from manyways.search.settings import Search

DIMENSION = 8
ANEW_EPOCHS, LOCAL_EPOCHS, LOCAL = 10, 50, 8


def main(*, seeds: int = 2, share: float = 1.0, out: Path = RESULTS / "image-search.json") -> None:
    """Learn 400 of the 8x8 digits of scikit-learn both ways, and write the errors and the times.

    Args:
        seeds: how many, from 0 on.
        share: of the epochs, for a trial.
        out: the result file.
    """
    images = torch.from_numpy(load_digits().images[:, None].astype(np.float32) / 16)
    train, test = images[:400], images[1500:]
    search = Search(candidates=16, block=2, rounds=1)  # 64 evaluations a point and visit
    result: dict[str, list[dict[str, Any]]] = {"anew": [], "local": []}
    for seed in range(seeds):
        for name, local, epochs in (("anew", 0, ANEW_EPOCHS), ("local", LOCAL, LOCAL_EPOCHS)):
            torch.manual_seed(seed)
            network = generator(DIMENSION, (1, 8, 8), 8)
            settings = {"search": search, "local": local, "learning_rate": 3e-3, "seed": seed}
            settings["epochs"] = max(1, round(share * epochs))
            start = time.process_time()
            model = manyways.SOG(network, manyways.Gaussian(DIMENSION), **settings).fit(None, train)
            seconds = time.process_time() - start
            error = (model.reconstruct(None, test, refine=6) - test).square().sum(dim=(1, 2, 3)).mean().item()
            result[name].append({"seed": seed, "seconds": seconds, "train": model.loss, "test": error})
            print(name, result[name][-1], flush=True)
    write_result(out, result, seeds=range(seeds))


if __name__ == "__main__":
    tyro.cli(main)
