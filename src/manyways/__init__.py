"""manyways learns every way a task is done from demonstrations that nobody labelled.

    demonstrations = manyways.Demonstrations.load("demonstrations.npz")
    policy = manyways.SOGBC(prior=manyways.Categorical(3)).fit(demonstrations)
    action, code = policy.predict(observation, state=policy.code(1))

The names below are loaded when they are first used, so that `import manyways` and the command line's help are quick.
Importing registers the tasks' environments with Gymnasium, such as manyways/Circles-v0.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from manyways.errors import InputError, ManywaysError, NovelObservationError, WriteError
from manyways.tasks import register_environments

if TYPE_CHECKING:
    from manyways.algorithms import (
        BC,
        GAIL,
        MDN,
        SOGBC,
        SOGGAIL,
        VAEGAIL,
        Algorithm,
        BeT,
        Diffusion,
        InfoGAIL,
        VQBeT,
        algorithm_names,
        get_algorithm,
        register_algorithm,
    )
    from manyways.algorithms.sog import SOG, SOGModel
    from manyways.algorithms.training import Training
    from manyways.clustering.count import count_modes
    from manyways.clustering.initial_codes import ComponentCodes
    from manyways.demonstrations import Demonstrations, Edits, Selection, load_modes
    from manyways.evaluation import evaluate_continuous, evaluate_coverage, with_random_actions, with_switched_codes
    from manyways.latents import Categorical, Gaussian
    from manyways.networks.encoders import register_encoder
    from manyways.policies.policy import Policy, load_policy
    from manyways.runs.comparison import compare
    from manyways.runs.environments import evaluate_env
    from manyways.runs.loggers import Logger
    from manyways.runs.run import Run
    from manyways.runs.workflow import evaluate, modes, robustness, train
    from manyways.search.settings import Search
    from manyways.tasks import Task, get_task, register_task, task_names
    from manyways.visual.report import explore, report

__version__ = "0.1.0"
__all__ = [
    "BC",
    "GAIL",
    "MDN",
    "SOG",
    "SOGBC",
    "SOGGAIL",
    "VAEGAIL",
    "Algorithm",
    "BeT",
    "Categorical",
    "ComponentCodes",
    "Demonstrations",
    "Diffusion",
    "Edits",
    "Gaussian",
    "InfoGAIL",
    "InputError",
    "Logger",
    "ManywaysError",
    "NovelObservationError",
    "Policy",
    "Run",
    "SOGModel",
    "Search",
    "Selection",
    "Task",
    "Training",
    "VQBeT",
    "WriteError",
    "algorithm_names",
    "compare",
    "count_modes",
    "evaluate",
    "evaluate_continuous",
    "evaluate_coverage",
    "evaluate_env",
    "explore",
    "get_algorithm",
    "get_task",
    "load_modes",
    "load_policy",
    "modes",
    "register_algorithm",
    "register_encoder",
    "register_task",
    "report",
    "robustness",
    "task_names",
    "train",
    "with_random_actions",
    "with_switched_codes",
]

_HOMES = {
    "manyways.algorithms": (
        "BC GAIL MDN SOGBC SOGGAIL VAEGAIL Algorithm BeT "
        "Diffusion InfoGAIL VQBeT algorithm_names get_algorithm register_algorithm"
    ),
    "manyways.algorithms.sog": "SOG SOGModel",
    "manyways.algorithms.training": "Training",
    "manyways.clustering.count": "count_modes",
    "manyways.clustering.initial_codes": "ComponentCodes",
    "manyways.demonstrations": "Demonstrations Edits Selection load_modes",
    "manyways.evaluation": "evaluate_continuous evaluate_coverage with_random_actions with_switched_codes",
    "manyways.latents": "Categorical Gaussian",
    "manyways.networks.encoders": "register_encoder",
    "manyways.policies.policy": "Policy load_policy",
    "manyways.runs.comparison": "compare",
    "manyways.runs.environments": "evaluate_env",
    "manyways.runs.loggers": "Logger",
    "manyways.runs.run": "Run",
    "manyways.runs.workflow": "evaluate modes robustness train",
    "manyways.search.settings": "Search",
    "manyways.tasks": "Task get_task register_task task_names",
    "manyways.visual.report": "explore report",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

register_environments()


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'manyways' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
