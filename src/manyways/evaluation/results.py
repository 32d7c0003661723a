"""Results of evaluations as JSON, by the fields of their dataclass."""

from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Self, get_args, get_origin, get_type_hints


class Result:
    """A dataclass of numbers, lists of them, and None."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields for a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the result that `to_json` described; other fields are ignored, those with a default may be missing.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or of another kind.
        """
        kinds = get_type_hints(cls)
        found = {
            field.name: _as(kinds[field.name], value[field.name])
            for field in fields(cls)  # type: ignore[arg-type]
            if field.name in value or field.default is MISSING
        }
        return cls(**found)


def _as(kind: Any, value: Any) -> Any:
    """Return `value` as a number, a list of numbers, or None, by the type `kind`."""
    if get_origin(kind) is list:
        if not isinstance(value, list):
            raise TypeError(f"{value!r} is no list")
        return [_as(get_args(kind)[0], item) for item in value]
    if NoneType in get_args(kind):
        return None if value is None else _as(get_args(kind)[0], value)
    return kind(value)
