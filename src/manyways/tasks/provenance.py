"""A fingerprint of a task's demonstrations, which changes with everything that they depend on."""

import hashlib
import inspect
import marshal
import os
import types
from collections.abc import Iterator, Mapping, Set
from dataclasses import fields
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from manyways.tasks.task import Task

_PACKAGES = ("manyways", "numpy", "gymnasium", "mujoco", "envpool")
_EXCLUDED = ("weights", "picture", "target_return")  # of a task: part of the expert, or without effect
_LIBRARIES = (os.path.dirname(os.__file__), f"{os.sep}site-packages{os.sep}")


def fingerprint(task: Task, noise: float) -> str:
    """Return twelve characters of a hash of all that a task's demonstrations depend on.

    That is the declaration, the expert's code or weights, the noise, and the packages' versions. A function depends on
    the module that defines it and on the globals that it reads.
    """
    declaration = {field.name: getattr(task, field.name) for field in fields(task) if field.name not in _EXCLUDED}
    expert = task.trained_expert.fingerprint if task.scripted_expert is None else "script"
    parts = [*_texts([declaration, expert, noise], set()), *map(_version, _PACKAGES)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _texts(value: Any, visited: set[int]) -> Iterator[str]:
    """Yield texts that are the same in every process for values of the same behaviour; each object once."""
    if hasattr(value, "detach"):  # a tensor
        value = value.detach().cpu().numpy()
    if value is None or isinstance(value, bool | int | float | str | bytes | np.generic):
        yield repr(value)
    elif isinstance(value, np.ndarray) and value.dtype != object:
        yield f"{value.dtype}{value.shape} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    elif isinstance(value, Set):
        yield from sorted(" ".join(_texts(item, visited)) for item in value)
    elif isinstance(value, Mapping):
        yield from _texts([part for item in value.items() for part in item], visited)
    elif isinstance(value, list | tuple | np.ndarray):
        yield f"{len(value)}:"
        for item in value:
            yield from _texts(item, visited)
    elif id(value) not in visited:
        visited.add(id(value))
        if isinstance(value, partial):
            yield from _texts((value.func, value.args, value.keywords), visited)
        elif isinstance(value, types.MethodType):
            yield from _texts((value.__func__, value.__self__), visited)
        elif isinstance(value, types.FunctionType | type):
            yield f"{value.__module__}.{value.__qualname__}"
            if not _in_library(value):
                yield _source(value)
                if isinstance(value, types.FunctionType):
                    cells = [cell.cell_contents for cell in value.__closure__ or ()]
                    read = {
                        name: value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__
                    }
                    yield from _texts((value.__defaults__, cells, read), visited)
        elif hasattr(value, "__name__"):  # a module, or a function that is not Python's
            yield value.__name__
        else:
            yield from _texts((type(value), getattr(value, "__dict__", None)), visited)


def _in_library(value: Any) -> bool:
    """Whether the standard library or an installed package, which has a version, defines it."""
    file = getattr(inspect.getmodule(value), "__file__", None) or ""
    return value.__module__ == "builtins" or any(place in file for place in _LIBRARIES)


def _names(code: types.CodeType) -> list[str]:
    """Return the names that a function's code reads, including functions inside it."""
    inside = [name for part in code.co_consts if isinstance(part, types.CodeType) for name in _names(part)]
    return sorted({*code.co_names, *inside})


def _source(value: Any) -> str:
    """Return a hash of the module that defines a function or class, or of its own code if there is no file."""
    for part in (inspect.getmodule(value), value):
        try:
            return hashlib.sha256(inspect.getsource(part).encode()).hexdigest()  # type: ignore[arg-type]
        except (OSError, TypeError):  # typed into a console
            continue
    code = getattr(value, "__code__", None)
    return "" if code is None else hashlib.sha256(marshal.dumps(code)).hexdigest()
