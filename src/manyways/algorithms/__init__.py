"""One file an algorithm, read top to bottom; it knows no task, only demonstrations and a vector environment."""

from importlib import import_module
from typing import Any

from manyways.algorithms.learning import Algorithm, Training
from manyways.algorithms.sog import SOG
from manyways.algorithms.sog_bc import SOGBC
from manyways.errors import InputError

__all__ = ["SOG", "SOGBC", "Algorithm", "Training", "algorithm_names", "get_algorithm"]

_HOMES = {
    "sog-bc": "sog_bc:SOGBC",
    "sog-gail": "adversarial.sog_gail:SOGGAIL",
    "bc": "bc:BC",
    "gail": "adversarial.gail:GAIL",
    "infogail": "adversarial.infogail:InfoGAIL",
    "vae-gail": "adversarial.vae_gail:VAEGAIL",
    "mdn": "mdn:MDN",
    "bet": "bet:BeT",
    "diffusion": "diffusion:Diffusion",
}


def algorithm_names() -> tuple[str, ...]:
    """Return the names of all algorithms."""
    return tuple(_HOMES)


def get_algorithm(name: str) -> type[Any]:
    """Return the algorithm's settings class by its name on the command line.

    Raises:
        InputError: there is none of this name.
    """
    if name not in _HOMES:
        raise InputError(f"there is no algorithm {name!r}; the algorithms are {', '.join(_HOMES)}")
    module, _, attribute = _HOMES[name].partition(":")
    chosen: type[Any] = getattr(import_module(f"manyways.algorithms.{module}"), attribute)
    return chosen
