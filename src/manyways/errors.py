"""What goes wrong for a reason that the user can mend: each message is one sentence with the value and the remedy."""

import math
from typing import Any


class ManywaysError(Exception):
    """Base of the errors whose message is written for the user; the command line prints it and exits with 2."""


class InputError(ManywaysError, ValueError):
    """Something that was given cannot be used: a file, an array, a setting."""


class NovelObservationError(InputError):
    """An observation is too far from the demonstrations for the policy to act on it: see `Policy.guard`."""


class WriteError(ManywaysError, OSError):
    """A file or folder could not be written; nothing half-written is left in its place."""


def require_at_least(settings: Any, least: float, *names: str) -> None:
    """Raise `InputError` unless these attributes of `settings` are `least` or more; None is left out."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not least <= value < math.inf:
            raise InputError(f"{name} is {value}; give {least} or more")


def require_above_zero(settings: Any, *names: str) -> None:
    """Raise `InputError` unless these attributes of `settings` are greater than 0; None is left out."""
    for name in names:
        value = getattr(settings, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}; give more than 0")


def require_share(settings: Any, *names: str, below_one: bool = False) -> None:
    """Raise `InputError` unless these attributes of `settings` are from 0 to 1, or less than 1."""
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value <= 1 or (below_one and value == 1):
            raise InputError(f"{name} is {value}; give a share from 0 to {'less than ' * below_one}1")


def require_choice(settings: Any, name: str, *choices: str) -> None:
    """Raise `InputError` unless this attribute of `settings` is one of the choices."""
    if getattr(settings, name) not in choices:
        listed = " or ".join(repr(choice) for choice in choices)
        raise InputError(f"{name} is {getattr(settings, name)!r}; give {listed}")
