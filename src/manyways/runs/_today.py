"""Adapters to names that are being built on another branch; goes when that is merged."""

from dataclasses import fields
from typing import Any


def has_codes(settings_class: Any) -> bool:
    if hasattr(settings_class, "has_codes"):
        return settings_class.has_codes
    return "prior" in {field.name for field in fields(settings_class)} and settings_class.name != "gail"


def runs_environments(settings_class: Any) -> bool:
    if hasattr(settings_class, "runs_environments"):
        return settings_class.runs_environments
    return "environments" in {field.name for field in fields(settings_class)}


def summary(settings_class: Any) -> str:
    return getattr(settings_class, "summary", settings_class.__doc__.splitlines()[0])


def load_policy(folder: Any) -> Any:
    from manyways.files import read_json
    from manyways.policies.codeless import CodelessPolicy
    from manyways.policies.policy import Policy

    description = read_json(folder / "policy.json")
    if isinstance(description, dict) and "kind" in description:
        policy: Any = CodelessPolicy.load(folder)
        policy.prior = None
        return policy
    return Policy.load(folder)


class Adapted:
    """A training of today under tomorrow's names."""

    def __init__(self, training: Any) -> None:
        self._training = training

    def __getattr__(self, name: str) -> Any:
        return getattr(self._training, name)

    def state_dict(self) -> Any:
        return self._training.state()

    def load_state_dict(self, tensors: Any) -> None:
        self._training.restore(tensors)

    @property
    def at_checkpoint(self) -> bool:
        return getattr(self._training, "at_checkpoint", True)

    @property
    def evaluation_due(self) -> bool:
        return getattr(self._training, "to_be_judged", False)

    @property
    def environment_steps(self) -> int:
        return self._training.ppo.steps if hasattr(self._training, "ppo") else 0

    @property
    def warnings(self) -> list[str]:
        return getattr(self._training, "warnings", [])

    def policy(self, counted: bool = True) -> Any:
        return self._training.policy() if counted else self._training.policy(counted=False)


def start(settings: Any, demonstrations: Any, environment: Any) -> Any:
    training = (
        settings.start(demonstrations, environment) if environment is not None else settings.start(demonstrations)
    )
    return training if hasattr(training, "state_dict") else Adapted(training)
