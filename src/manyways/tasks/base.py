"""The environment underneath a task, in Gymnasium's form and in EnvPool's.

Both use the same engine and the same settings, under their own names.
"""

import importlib.util
import os
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError


@dataclass(frozen=True)
class Base:
    """The environment underneath a task.

    Attributes:
        id: its name in Gymnasium, and in EnvPool.
        settings: Gymnasium's arguments for it.
        observation_keys: entries of a dictionary to observe, joined to one vector; None for the whole observation.
        observed: how many of the vector's dimensions to observe, from the first on; None for all.
        camera: the name of a camera for pictures, one that follows; None for the environment's default.
        in_envpool: whether EnvPool's form is used if EnvPool has this environment.
        show_mode: draws the mode of an episode in Gymnasium's form after a reset; None draws nothing.
        module: to import so that Gymnasium knows the id; None for Gymnasium's own.
    """

    id: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    observation_keys: tuple[str, ...] | None = None
    observed: int | None = None
    camera: str | None = None
    in_envpool: bool = True
    show_mode: Callable[[gym.Env[Any, Any], NDArray[Any]], None] | None = None
    module: str | None = None

    def make(self, render_mode: str | None = None, **overrides: Any) -> gym.Env[Any, Any]:
        """Make one in Gymnasium's form, without a time limit.

        Raises:
            InputError: Gymnasium does not know the id, or the package that has it is not installed.
        """
        settings = {**self.settings, **overrides}
        if render_mode is not None and self.camera is not None:
            settings["camera_name"] = self.camera
        try:
            if self.module is not None:
                gym.register_envs(importlib.import_module(self.module))
            return gym.make(
                self.id, render_mode=render_mode, disable_env_checker=True, max_episode_steps=-1, **settings
            )
        except gym.error.UnregisteredEnv as error:
            raise InputError(
                f"Gymnasium has no environment {self.id!r} ({error}); check the id, or give the package that registers "
                "it as Base(module=...)"
            ) from error
        except (ModuleNotFoundError, gym.error.DependencyNotInstalled) as error:
            robots = "; pip install manyways[mujoco]" if "mujoco" in str(error) or "robotics" in str(error) else ""
            raise InputError(f"{self.id} needs a package that is missing ({error}){robots}") from error

    def observe(self, observation: Any) -> Any:
        """Return the observed part of the environment's observation, or of several, (..., dimensions)."""
        if self.observation_keys is not None:
            observation = np.concatenate([observation[key] for key in self.observation_keys], axis=-1)
        return observation if self.observed is None else observation[..., : self.observed]

    def space(self, space: Any) -> gym.Space[Any]:
        """Return the observed part of the environment's observation space.

        Raises:
            InputError: there are no entries of these names, or they are no vectors.
        """
        if self.observation_keys is not None:
            entries = space.spaces if isinstance(space, gym.spaces.Dict) else {}
            parts = [entries.get(key) for key in self.observation_keys]
            if not all(isinstance(part, gym.spaces.Box) and len(part.shape) == 1 for part in parts):
                raise InputError(
                    f"{self.id} observes {space}, of which {', '.join(self.observation_keys)} are not all vectors; "
                    "name entries that are in Base(observation_keys=...), or None to keep the dictionary"
                )
            low, high = (np.concatenate([getattr(part, name) for part in parts]) for name in ("low", "high"))
            space = gym.spaces.Box(low, high, dtype=low.dtype.type)
        if self.observed is None:
            return space
        return gym.spaces.Box(space.low[: self.observed], space.high[: self.observed], dtype=space.dtype.type)

    def uses_envpool(self) -> bool:
        """Whether EnvPool is installed, has this environment, and may be used."""
        return self.in_envpool and has_envpool() and self.id in _envpool_ids()

    def make_pool(self, seeds: Sequence[int], episode_steps: int, **overrides: Any) -> Any:
        """Make an environment for each seed, in EnvPool's form."""
        import envpool

        pool = envpool.make_gymnasium(
            self.id,
            num_envs=len(seeds),
            num_threads=min(len(seeds), _processors()),
            env_seed=list(seeds),
            max_episode_steps=episode_steps,
            **_envpool_settings({**self.settings, **overrides}, envpool.make_spec(self.id).config._fields),
        )
        with warnings.catch_warnings():  # of its own bounds, which it makes on first use
            warnings.filterwarnings("ignore", message=".*precision lowered by casting")
            _ = pool.observation_space, pool.action_space
        return pool


def has_envpool() -> bool:
    """Whether EnvPool is installed; it has no packages for some platforms."""
    return importlib.util.find_spec("envpool") is not None


@cache
def _envpool_ids() -> frozenset[str]:
    import envpool

    return frozenset(envpool.list_all_envs())


def _processors() -> int:
    """Return how many processors this process may use; only Linux says which."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _envpool_settings(settings: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return Gymnasium's settings in EnvPool's form, with its `names`: a range becomes NAME_min and NAME_max."""
    translated: dict[str, Any] = {}
    for name, value in settings.items():
        if name.endswith("_range"):
            stem = name.removesuffix("_range")
            # Some of EnvPool's environments have one end only; the other is open.
            ends = {f"{stem}_min": value[0], f"{stem}_max": value[1]}
            translated |= {key: end for key, end in ends.items() if np.isfinite(end) or key in names}
        else:
            translated[name] = value
    return translated
