"""One file an algorithm, read top to bottom. An algorithm knows no task, only demonstrations."""

from manyways.algorithms.sog import SOG
from manyways.algorithms.sog_bc import SOGBC, Training
from manyways.errors import InputError

__all__ = ["SOG", "SOGBC", "Training", "algorithm_names", "get_algorithm"]

_ALGORITHMS = {SOGBC.name: SOGBC}


def algorithm_names() -> tuple[str, ...]:
    """Return the names of all algorithms."""
    return tuple(_ALGORITHMS)


def get_algorithm(name: str) -> type[SOGBC]:
    """Return the algorithm's settings class by its name on the command line.

    Raises:
        InputError: there is none of this name.
    """
    if name not in _ALGORITHMS:
        raise InputError(f"there is no algorithm {name!r}; the algorithms are {', '.join(_ALGORITHMS)}")
    return _ALGORITHMS[name]
