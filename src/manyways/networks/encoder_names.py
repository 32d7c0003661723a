"""Names of encoders, without PyTorch: those that are registered, and module:ATTRIBUTE."""

import importlib
from typing import Any

from manyways.errors import InputError

FACTORIES: dict[str, Any] = {}  # from a space to a module, by name; `encoders` fills it
BUILT_IN = ("flat", "conv")


def find(name: str) -> Any:
    """Return what is registered by this name, or what module:ATTRIBUTE is; None for one that `encoders` registers.

    Raises:
        InputError: there is no such encoder.
    """
    if name in FACTORIES or name in BUILT_IN:
        return FACTORIES.get(name)
    module, separator, attribute = name.partition(":")
    if not separator:
        known = ", ".join(dict.fromkeys((*BUILT_IN, *FACTORIES)))
        raise InputError(f"there is no encoder {name!r}; the encoders are {known}, or your own as module:ATTRIBUTE")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"there is no encoder {name!r} ({error}); give module:ATTRIBUTE of a module on the path"
        ) from error
