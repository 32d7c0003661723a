"""Any Gymnasium environment by its name, and what counts as success in it."""

import contextlib
import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from manyways.errors import InputError

Environment = str | gym.Env[Any, Any] | Callable[..., gym.Env[Any, Any]]
"""A Gymnasium id, `module:factory`, a factory, or an environment."""


@dataclass(frozen=True)
class Success:
    """What counts as success of an episode.

    Attributes:
        key: of `info`, or "return".
        least: the number that must be reached once in the episode; None for a value that is true once.
    """

    key: str
    least: float | None = None

    @classmethod
    def parse(cls, text: str) -> "Success":
        """Read `KEY`, `KEY>=NUMBER` or `return>=NUMBER`.

        Raises:
            InputError: it is none of these.
        """
        found = re.fullmatch(r"\s*([\w./-]+)\s*(?:>=\s*([-+]?[\d.]+(?:e[-+]?\d+)?))?\s*", text)
        try:
            if found is None or (found[1] == "return" and found[2] is None):
                raise ValueError
            return cls(found[1], None if found[2] is None else float(found[2]))
        except ValueError:
            raise InputError(
                f"success is {text!r}; give a key of info such as is_success, or coverage>=0.9, or return>=200"
            ) from None

    def reached(self, info: Mapping[str, Any]) -> bool:
        """Whether a step's `info` shows success.

        Raises:
            InputError: what `info` has there is neither true or false nor a number.
        """
        given = info.get(self.key)
        value = np.asarray(False if given is None else given)
        if value.dtype.kind not in "biuf":
            raise InputError(
                f"info has {self.key!r} as {given!r}, which is neither true or false nor a number; "
                "give another --success"
            )
        return bool(np.any(value if self.least is None else value >= self.least))


def make_environment(environment: Environment, env_kwargs: Mapping[str, Any]) -> Any:
    """Return the environment.

    Raises:
        InputError: there is none of this name, or it cannot be made with these arguments.
    """
    if isinstance(environment, gym.Env):
        if env_kwargs:
            raise InputError("the environment is made already, so env_kwargs have no use; leave them out")
        return environment
    name = environment if isinstance(environment, str) else name_of(environment)
    try:
        found = _found(environment) if isinstance(environment, str) else environment
        made = gym.make(found, **env_kwargs) if isinstance(found, str) else found(**env_kwargs)
    except Exception as error:  # what a user's factory may raise
        raise _not_made(name, error) from error
    if not isinstance(made, gym.Env):
        raise InputError(f"{name} made a {type(made).__name__}, not a gymnasium.Env; let it return one")
    return made


def require_known(name: str) -> None:
    """Raise `InputError` unless there is an environment of this name; it is not made."""
    try:
        found = _found(name)
        if isinstance(found, str):
            gym.spec(found)
    except Exception as error:  # what a user's module may raise
        raise _not_made(name, error) from error


def _not_made(name: str, error: Exception) -> InputError:
    what = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"the environment {name} cannot be made ({what}); give a Gymnasium id whose package is installed, or "
        "module:factory, and --env-kwargs that it takes"
    )


def _found(name: str) -> str | Callable[..., Any]:
    """Return the factory or the Gymnasium id of a name; packages register theirs when they are imported."""
    module, separator, attribute = name.partition(":")
    if separator:
        factory = getattr(importlib.import_module(module), attribute, None)
        if callable(factory):
            return factory
        if "-v" not in attribute:
            raise AttributeError(f"{module} has no {attribute}")
        name = attribute
    namespace, separator, _ = name.partition("/")
    if name not in gym.registry and separator:
        with contextlib.suppress(ImportError):  # Gymnasium says that the namespace is not there
            importlib.import_module(namespace.replace("-", "_"))
    return name


def name_of(environment: Any) -> str:
    """Return what an environment, or what makes it, is called."""
    spec = getattr(environment, "spec", None)
    return str(getattr(spec, "id", None) or getattr(environment, "__name__", type(environment).__name__))
