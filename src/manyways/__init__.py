"""manyways learns every way a task is done from demonstrations that nobody labelled.

    demonstrations = manyways.Demonstrations.load("demonstrations.npz")
    policy = manyways.SOGBC(prior=manyways.Categorical(3)).fit(demonstrations)
    action, code = policy.predict(observation, state=policy.code(1))

The names below are loaded when they are first used, so that `import manyways` and the command line's help are quick.
Importing registers the tasks' environments with Gymnasium, such as manyways/Circles-v0.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manyways.errors import InputError, ManywaysError, WriteError
from manyways.tasks import register_environments

if TYPE_CHECKING:
    from manyways.algorithms import SOG, SOGBC
    from manyways.clustering.count import count_modes
    from manyways.clustering.groups import ComponentCodes
    from manyways.demonstrations import Demonstrations, load_modes
    from manyways.evaluation import evaluate
    from manyways.latents import Categorical, Gaussian
    from manyways.policies.policy import Policy

__version__ = "0.1.0"
__all__ = [
    "SOG",
    "SOGBC",
    "Categorical",
    "ComponentCodes",
    "Demonstrations",
    "Gaussian",
    "InputError",
    "ManywaysError",
    "Policy",
    "WriteError",
    "count_modes",
    "evaluate",
    "load_modes",
]

_HOMES = {
    "SOG": "manyways.algorithms",
    "SOGBC": "manyways.algorithms",
    "Categorical": "manyways.latents",
    "ComponentCodes": "manyways.clustering.groups",
    "Gaussian": "manyways.latents",
    "Demonstrations": "manyways.demonstrations",
    "Policy": "manyways.policies.policy",
    "count_modes": "manyways.clustering.count",
    "evaluate": "manyways.evaluation",
    "load_modes": "manyways.demonstrations",
}

register_environments()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'manyways' has no attribute {name!r}")
