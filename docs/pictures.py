"""Make the pictures of README and docs: `make demo`, then `.venv/bin/python docs/pictures.py`.

The first of the demo's page, and what continuous codes achieve in `results/`.
"""

import base64
import re
from pathlib import Path

import numpy as np

from manyways.evaluation import ContinuousEvaluation
from manyways.files import read_json
from manyways.latents import Gaussian
from manyways.tasks import ContinuousModes, get_task
from manyways.visual import figures

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Write them all."""
    page = ROOT / "runs" / "demo" / "report.html"
    if page.exists():
        pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', page.read_text())
        (ROOT / "docs" / "circles.png").write_bytes(base64.b64decode(pictures[0]))
    for name in ("halfcheetah-vel", "fetch-reach"):
        evaluation = ContinuousEvaluation.from_json(read_json(ROOT / "results" / name / "sog-bc" / "seed-0.json"))
        modes, codes = get_task(name).modes, np.array(evaluation.codes)
        assert isinstance(modes, ContinuousModes)
        figure = figures.codes_and_modes(
            Gaussian(codes.shape[1]).cdf(codes),
            np.array(evaluation.achieved_mean),
            np.array(evaluation.achieved_std),
            modes.labels or (modes.name,) * modes.dimension,
            (np.array(modes.low), np.array(modes.high)),
        )
        figures.save(figure, ROOT / "docs" / f"{name}-codes.png")


if __name__ == "__main__":
    main()
