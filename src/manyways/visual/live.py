"""A simulator running live under a code that can be switched at any moment, with reset and nudge, as JPEG frames."""

import contextlib
import io
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from manyways.errors import InputError
from manyways.evaluation.observing import as_action, observed_by, require_fit
from manyways.latents import Categorical
from manyways.policies.policy import Policy
from manyways.tasks.any_environment import make_environment
from manyways.visual.films import choose_renderer, pace

_NUDGE = 0.3  # seconds of random actions
_PAUSE = 0.6  # seconds after an episode's end
_LARGEST = 720  # pixels of a frame's side


class Live:
    """Runs episodes of a policy in an environment, for one onlooker at a time.

    Args:
        policy: with codes.
        make: makes the environment, which renders "rgb_array". It is called by the thread that runs it, since OpenGL
            draws in one thread only.
        name: of the environment, for errors.
        seed: of the first episode; the next ones count on.
    """

    def __init__(self, policy: Policy, make: Callable[[], Any], name: str, seed: int = 0) -> None:
        choose_renderer()
        self._policy, self._make, self._name, self._seed = policy, make, name, seed
        assert policy.prior is not None
        self._asked: Any = 0 if isinstance(policy.prior, Categorical) else [0.5] * policy.prior.dimension
        self._code = policy.code(self._asked)
        self._reset = self._nudged = False
        self._onlooker, self._window, self._problem = 0, "", ""

    @classmethod
    def of(cls, policy: Policy, environment: Any, env_kwargs: Mapping[str, Any], name: str) -> "Live":
        """Return that of a Gymnasium id, `module:factory` or a factory, after a look whether it fits and renders.

        Raises:
            InputError: it does not.
        """
        kwargs = {"render_mode": "rgb_array", **env_kwargs}
        made = make_environment(environment, kwargs)
        try:
            require_fit(policy, made, name)
            if getattr(made, "render_mode", None) != "rgb_array":
                raise InputError(f"{name} renders {made.render_mode!r}; give one with render_mode rgb_array")
        finally:
            made.close()
        return cls(policy, lambda: make_environment(environment, kwargs), name)

    def command(self, asked: Any) -> None:
        """Do what the page asks: {"code": 1}, {"reset": true}, {"nudge": true} or {"start": "its window's name"}.

        A continuous code is the prior's CDF of each of its dimensions, 0 to 1: {"code": [0.5]}. To start is to say who
        looks on from now, before asking for pictures; a failure is forgotten.

        Raises:
            InputError: it is something else, there is no such code, or the environment has failed.
        """
        known = {"code", "reset", "nudge", "start"}
        if not isinstance(asked, dict) or not asked or not set(asked) <= known:
            raise InputError(f"{asked!r} is nothing to do; ask for code, reset, nudge or start")
        if not isinstance(asked.get("start", ""), str):
            raise InputError(f"the window is {asked['start']!r}; give its name as a text")
        if "code" in asked:
            self._code, self._asked = self._policy.code(self._known(asked["code"])), asked["code"]
        if "start" in asked:
            self._onlooker, self._window, self._problem = self._onlooker + 1, asked["start"], ""
        if self._problem and {"reset", "nudge"} & set(asked):
            raise InputError(self._problem)
        self._reset = self._reset or bool(asked.get("reset"))
        self._nudged = self._nudged or bool(asked.get("nudge"))

    def state(self) -> dict[str, Any]:
        """Return what runs: the code as it was asked for, the window that looks on ("": none), and what has failed."""
        return {"code": self._asked, "window": self._window, "problem": self._problem}

    def _known(self, code: Any) -> Any:
        """Return a code that was asked for, if it is of the right kind."""
        if isinstance(self._policy.prior, Categorical):
            if type(code) is not int:
                raise InputError(f"the code is {code!r}; give its index")
        elif not isinstance(code, list) or not all(type(share) in (int, float) for share in code):
            raise InputError(f"the code is {code!r}; give the prior's CDF of each of its dimensions, such as [0.5]")
        return code

    def frames(self, window: str = "") -> Generator[bytes, None, None]:
        """Yield JPEG pictures for a window at the pace of the simulation, until another looks on."""
        self._onlooker, self._window, self._problem = self._onlooker + 1, window, ""
        onlooker, self._nudged, environment = self._onlooker, False, None
        try:
            environment = self._make()
            every, rate = pace(environment)
            while onlooker == self._onlooker:
                yield from self._episode(environment, onlooker, every, rate)
                self._seed += 1
        except Exception as error:  # it is the user's program, which may raise anything
            what = " ".join(f"{type(error).__name__}: {error}".split())
            if onlooker == self._onlooker:
                self._problem = f"{self._name} failed ({what}); start again, or mend it and serve the page anew"
        finally:
            if onlooker == self._onlooker:
                self._window = ""
            with contextlib.suppress(Exception):  # whatever closing raises, nobody looks on any more
                if environment is not None:
                    environment.close()

    def _episode(self, environment: Any, onlooker: int, every: int, rate: float) -> Iterator[bytes]:
        policy, self._reset = self._policy, False
        observation, _ = environment.reset(seed=self._seed)
        state, nudge, due, step, ended = self._code, 0, time.monotonic(), 0, False
        while not ended and not self._reset and onlooker == self._onlooker:
            if step % every == 0:
                yield _jpeg(environment.render())
                due = max(due + 1 / rate, time.monotonic() - 1 / rate)
                time.sleep(max(0.0, due - time.monotonic()))
            state = np.concatenate([self._code, state[len(self._code) :]])  # the memory stays where the code changes
            action, state = policy.predict(observed_by(observation, policy.observation_space), state, None, True)
            if self._nudged:
                nudge, self._nudged = max(1, round(_NUDGE * rate * every)), False
            space = environment.action_space
            act = space.sample() if nudge else as_action(space, action)
            nudge = max(0, nudge - 1)
            observation, _, terminated, truncated, _ = environment.step(act)
            ended, step = bool(terminated or truncated), step + 1
        if ended:
            yield _jpeg(environment.render())
            time.sleep(_PAUSE)


def _jpeg(picture: Any) -> bytes:
    image = Image.fromarray(np.asarray(picture, np.uint8)).convert("RGB")
    image.thumbnail((_LARGEST, _LARGEST))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
