"""The environment underneath a task, in Gymnasium's form and in EnvPool's.

Both step the same engine; both are given the same settings, under the names each has for them.
"""

import importlib.util
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
        observation_key: which entry is observed, where its observations are a dictionary.
        observed: how many of its numbers are observed, the first ones; None for all.
        camera: the name of the camera that pictures are taken with, one that follows; None for the environment's own.
        in_envpool: whether EnvPool has it too.
        show_mode: tells Gymnasium's form the mode of its episode after a reset, for pictures; None where none is drawn.
        module: what to import so that Gymnasium knows the id; None for Gymnasium's own.
    """

    id: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    observation_key: str | None = None
    observed: int | None = None
    camera: str | None = None
    in_envpool: bool = True
    show_mode: Callable[[gym.Env[Any, Any], NDArray[Any]], None] | None = None
    module: str | None = None

    def make(self, render_mode: str | None = None, **overrides: Any) -> gym.Env[Any, Any]:
        """Make one in Gymnasium's form, without a time limit.

        Raises:
            InputError: the package that has it is not installed.
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
        except (ImportError, gym.error.DependencyNotInstalled) as error:
            raise InputError(
                f"{self.id} needs a package that is missing ({error}); pip install manyways[mujoco]"
            ) from error

    def observe(self, observation: Any) -> NDArray[Any]:
        """Return of the environment's observation, or of many in a row, what the task observes."""
        numbers: NDArray[Any] = observation if self.observation_key is None else observation[self.observation_key]
        return numbers if self.observed is None else numbers[..., : self.observed]

    def space(self, space: Any) -> gym.spaces.Box:
        """Return of the environment's observation space what the task observes."""
        box: gym.spaces.Box = space if self.observation_key is None else space[self.observation_key]
        return gym.spaces.Box(box.low[: self.observed], box.high[: self.observed], dtype=box.dtype.type)

    def make_pool(self, seeds: Sequence[int], episode_steps: int, **overrides: Any) -> Any:
        """Make as many in EnvPool's form as there are seeds."""
        import envpool

        return envpool.make_gymnasium(
            self.id,
            num_envs=len(seeds),
            num_threads=min(len(seeds), len(os.sched_getaffinity(0))),
            env_seed=list(seeds),
            max_episode_steps=episode_steps,
            **_envpool_settings({**self.settings, **overrides}, envpool.make_spec(self.id).config._fields),
        )


def has_envpool() -> bool:
    """Whether EnvPool is installed; it has no packages for some platforms."""
    return importlib.util.find_spec("envpool") is not None


def _envpool_settings(settings: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return Gymnasium's settings as EnvPool takes them, a range as NAME_min and NAME_max; `known` are its names."""
    translated: dict[str, Any] = {}
    for name, value in settings.items():
        if name.endswith("_range"):
            stem = name.removesuffix("_range")
            # Some of EnvPool's environments have one end only, the other being open as in Gymnasium's.
            ends = {f"{stem}_min": value[0], f"{stem}_max": value[1]}
            translated |= {key: end for key, end in ends.items() if np.isfinite(end) or key in known}
        else:
            translated[name] = value
    return translated
