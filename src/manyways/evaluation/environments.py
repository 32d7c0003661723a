"""A policy in any Gymnasium environment: return, success and length of each code, with 95% confidence intervals.

The interval of a success rate is Wilson's (1927). That of a mean is the percentile bootstrap's.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyways.errors import InputError
from manyways.evaluation.observing import as_action, observed_by, require_fit
from manyways.evaluation.rollouts import FIRST_SEED
from manyways.latents import Categorical
from manyways.policies.policy import Policy
from manyways.tasks.any_environment import Environment, Success, make_environment, name_of

USUAL_SUCCESS = ("is_success", "success")  # names in `info` that mean it where nothing is asked for
_NORMAL = 1.959964  # the normal distribution's quantile at 97.5%
_RESAMPLES = 2000  # of the bootstrap; the ends of its interval then vary by a few percent of its width
_LONGEST = 1000  # steps of an episode, where the environment has no limit of its own


@dataclass(frozen=True)
class Estimate:
    """A mean over episodes and its 95% confidence interval.

    Attributes:
        mean: of the episodes.
        low, high: ends of the interval.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[Any], seed: int = 0) -> "Estimate":
        """Return the mean of values (episodes,), with a bootstrap interval."""
        rng = np.random.default_rng(seed)
        means = rng.choice(values, (_RESAMPLES, len(values))).mean(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        return cls(float(values.mean()), float(low), float(high))

    @classmethod
    def of_share(cls, successes: NDArray[np.bool_]) -> "Estimate":
        """Return the share of successes (episodes,), with Wilson's interval."""
        count, share = len(successes), float(successes.mean())
        squared = _NORMAL**2 / count
        middle = (share + squared / 2) / (1 + squared)
        half = _NORMAL * math.sqrt(share * (1 - share) / count + squared / (4 * count)) / (1 + squared)
        return cls(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))  # but for rounding


@dataclass(frozen=True)
class CodeEvaluation:
    """Rollouts under one code.

    Attributes:
        code: its index, or for continuous codes its place in the prior, such as 10-percent; None where nobody chooses.
        name: of the mode, None without one.
        episodes: how many rollouts.
        return_: undiscounted.
        success: share of the episodes; None where the environment says nothing of it.
        length: in steps.
    """

    code: str | None
    name: str | None
    episodes: int
    return_: Estimate
    success: Estimate | None
    length: Estimate

    @property
    def label(self) -> str:
        """What to call it in a table."""
        return "nobody chooses" if self.code is None else f"{self.code} {self.name or ''}".strip()


@dataclass(frozen=True)
class EnvironmentEvaluation:
    """A policy in an environment.

    Attributes:
        environment: its id or its factory.
        success: what counted as success; None where nothing did.
        max_steps: after which episodes were cut.
        cut: how many episodes were.
        codes: a line for each code, then one for when nobody chooses; that alone for policies without codes.
    """

    environment: str
    success: str | None
    max_steps: int
    cut: int
    codes: tuple[CodeEvaluation, ...]

    @property
    def undrawn(self) -> CodeEvaluation:
        """The line of when nobody chooses the code."""
        return self.codes[-1]

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return asdict(self) | {"intervals": "95%: success by Wilson, return and length by the percentile bootstrap"}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "EnvironmentEvaluation":
        """Return the evaluation that `to_json` described.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or of another kind.
        """
        codes = []
        for line in value["codes"]:
            estimates = {
                name: None if line[name] is None else Estimate(**{k: float(v) for k, v in line[name].items()})
                for name in ("return_", "success", "length")
            }
            codes.append(CodeEvaluation(line["code"], line["name"], int(line["episodes"]), **estimates))  # type: ignore[arg-type]
        return cls(value["environment"], value["success"], int(value["max_steps"]), int(value["cut"]), tuple(codes))


@dataclass(frozen=True)
class _Episode:
    return_: float
    length: int
    success: bool
    cut: bool


def evaluate_in(
    policy: Policy,
    environment: Environment,
    *,
    episodes: int = 100,
    seed: int = 0,
    success: str | None = None,
    max_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    on_episode: Callable[[], object] = lambda: None,
) -> EnvironmentEvaluation:
    """Roll the policy out under every code, and as often where nobody chooses the code.

    With codes, actions are the likeliest; a single code has one line. A policy without codes draws its actions. Of
    continuous codes the prior's 10%, 50% and 90% are taken in each dimension.

    Args:
        policy: with or without codes.
        environment: see `Environment`.
        episodes: how many rollouts, spread evenly over the codes; as many where nobody chooses.
        seed: of the environment, and of what the policy draws.
        success: `KEY` of `info` that is true once in the episode, `KEY>=NUMBER`, or `return>=NUMBER`; is_success or
            success, where `info` has one, unless given.
        max_steps: after which an episode is cut; the environment's own limit, or 1000, unless given.
        env_kwargs: of the environment or its factory.
        on_episode: called after each episode.

    Raises:
        InputError: the environment cannot be made or fails, its spaces do not fit the policy, or `info` has no such
            key.
    """
    wanted = None if success is None else Success.parse(success)
    if max_steps is not None and max_steps < 1:
        raise InputError(f"max_steps is {max_steps}; give 1 or more")
    examples = {} if policy.prior in (None, Categorical(1)) else policy.prior.examples()
    if episodes < max(1, len(examples)):
        raise InputError(f"{episodes} episodes cannot show {len(examples) or 1} codes; give at least as many")
    name = environment if isinstance(environment, str) else name_of(environment)
    made = make_environment(environment, env_kwargs or {})
    try:
        require_fit(policy, made, name)
        limit = max_steps or getattr(made.spec, "max_episode_steps", None) or _LONGEST
        roll = _Roller(policy, made, name, wanted, limit, seed)
        found = []
        counts = np.bincount(np.arange(episodes) % max(1, len(examples)), minlength=1)
        tried = [*zip(examples.items(), counts, strict=True)] if examples else []
        for (code, value), count in [*tried, ((None, None), np.int64(episodes))]:
            done = []
            for number in range(count):
                done.append(roll(number, value))
                on_episode()
            found.append((code, done))
    finally:
        if made is not environment:
            made.close()
    cut = sum(episode.cut for _, done in found for episode in done)
    lines = tuple(_line(policy, code, done, roll.success_name is not None) for code, done in found)
    return EnvironmentEvaluation(name, roll.success_name, limit, cut, lines)


class _Roller:
    """Rolls out one episode at a time; it finds out what success is from the first `info` that has one."""

    def __init__(self, policy: Policy, env: Any, name: str, success: Success | None, limit: int, seed: int) -> None:
        self._policy, self._env, self._name, self._limit, self._seed = policy, env, name, limit, seed
        self._success, self._asked = success, success is not None
        policy.seed(seed)

    @property
    def success_name(self) -> str | None:
        """What counted as success."""
        if self._success is None:
            return None
        return self._success.key + ("" if self._success.least is None else f">={self._success.least:g}")

    def __call__(self, number: int, code: NDArray[np.float32] | None) -> _Episode:
        """Roll out one episode under a code; None draws one, or there are none."""
        policy, env = self._policy, self._env
        state: Any = code
        total, length, reached, seen, ended = 0.0, 0, False, False, False
        observation, _ = self._guarded(env.reset, seed=FIRST_SEED + self._seed + number)
        start: bool = code is None
        while not ended and length < self._limit:
            fitted = observed_by(observation, policy.observation_space)
            deterministic = policy.prior is not None
            action, state = policy.predict(fitted, state, [True] if start else None, deterministic)
            start = False
            act = as_action(env.action_space, action)
            observation, reward, terminated, truncated, info = self._guarded(env.step, act)
            total, length, ended = total + float(reward), length + 1, bool(terminated or truncated)
            if self._success is None:
                usual = next((key for key in USUAL_SUCCESS if key in info), None)
                self._success = None if usual is None else Success(usual)
            if self._success is not None and self._success.key != "return":
                seen = seen or self._success.key in info
                reached = reached or self._success.reached(info)
        if self._success is not None and self._success.key == "return":
            reached, seen = total >= (self._success.least or 0.0), True
        if self._asked and not seen:
            has = ", ".join(sorted(map(str, info))) or "nothing"
            assert self._success is not None
            raise InputError(f"info of {self._name} has no {self._success.key!r}; it has {has}: give another --success")
        return _Episode(total, length, reached, not ended)

    def _guarded(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except InputError:
            raise
        except Exception as error:  # it is the user's program, which may raise anything
            raise InputError(
                f"{self._name} failed ({type(error).__name__}: {error}); mend the environment or its arguments"
            ) from error


def _line(policy: Policy, code: str | None, episodes: list[_Episode], judged: bool) -> CodeEvaluation:
    listed = code is not None and isinstance(policy.prior, Categorical)
    return CodeEvaluation(
        code=code,
        name=policy.names.get(int(code)) if listed and code is not None else None,
        episodes=len(episodes),
        return_=Estimate.of(np.array([episode.return_ for episode in episodes])),
        success=Estimate.of_share(np.array([episode.success for episode in episodes])) if judged else None,
        length=Estimate.of(np.array([episode.length for episode in episodes])),
    )
