"""The algorithms, one file for each, and their registry by name.

An algorithm knows demonstrations and a vector environment, but no task.
"""

import importlib
from importlib.metadata import entry_points
from typing import Any, TypeVar

from manyways.algorithms.adversarial.settings import GAIL, SOGGAIL, VAEGAIL, Adversarial, InfoGAIL
from manyways.algorithms.settings import BC, MDN, SOGBC, Algorithm, BeT, Cloning, Diffusion, VQBeT
from manyways.errors import InputError

__all__ = [
    "BC",
    "GAIL",
    "MDN",
    "SOGBC",
    "SOGGAIL",
    "VAEGAIL",
    "Adversarial",
    "Algorithm",
    "BeT",
    "Cloning",
    "Diffusion",
    "InfoGAIL",
    "VQBeT",
    "algorithm_names",
    "get_algorithm",
    "register_algorithm",
]

ENTRY_POINTS = "manyways.algorithms"  # the group under which other packages offer theirs

_ALGORITHMS: dict[str, type[Algorithm]] = {}
_Settings = TypeVar("_Settings", bound=type[Algorithm])


def register_algorithm(algorithm: _Settings) -> _Settings:
    """Register a class of settings by its `name`, to train, resume and evaluate it by name; a decorator.

    Another package may register an entry point of the group "manyways.algorithms" with the algorithm's name instead.

    Raises:
        InputError: this is no `Algorithm`, or its name belongs to another one.
    """
    if not (isinstance(algorithm, type) and issubclass(algorithm, Algorithm)) or not getattr(algorithm, "name", ""):
        raise InputError(
            f"{algorithm!r} is no algorithm; derive a dataclass from manyways.Algorithm and give it a name"
        )
    other = _ALGORITHMS.get(algorithm.name)
    if other is not None and other.__qualname__ != algorithm.__qualname__:
        raise InputError(f"the name {algorithm.name!r} belongs to {other.__qualname__}; choose another")
    _ALGORITHMS[algorithm.name] = algorithm
    return algorithm


for _algorithm in (SOGBC, BC, MDN, BeT, VQBeT, Diffusion, SOGGAIL, GAIL, InfoGAIL, VAEGAIL):
    register_algorithm(_algorithm)


def algorithm_names() -> tuple[str, ...]:
    """Return the names of all algorithms, those of other packages too."""
    others = [entry.name for entry in entry_points(group=ENTRY_POINTS) if entry.name not in _ALGORITHMS]
    return (*_ALGORITHMS, *others)


def get_algorithm(name: str) -> type[Any]:
    """Return the settings of the algorithm of this name; `module:ATTRIBUTE` imports a user's own and registers it.

    Raises:
        InputError: there is none of this name.
    """
    if name in _ALGORITHMS:
        return _ALGORITHMS[name]
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        try:
            return register_algorithm(entry.load())
        except (ImportError, AttributeError) as error:
            raise InputError(f"the algorithm {name!r} of {entry.value} cannot be imported ({error})") from error
    module, separator, attribute = name.partition(":")
    if not separator:
        raise InputError(
            f"there is no algorithm {name!r}; the algorithms are {', '.join(algorithm_names())}, or your own as "
            "module:ATTRIBUTE"
        )
    try:
        algorithm = register_algorithm(getattr(importlib.import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"there is no algorithm {name!r} ({error}); give module:ATTRIBUTE of a module on the path"
        ) from error
    _ALGORITHMS[name] = algorithm  # by this name too, which a run's folder has
    return algorithm
