"""Where a result file comes from: version, commit, data, expert, seeds, budget, machine, command and date."""

import hashlib
import inspect
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import manyways
from manyways.demonstrations.observations import entries
from manyways.demonstrations.stored import blocks

if TYPE_CHECKING:
    from manyways.demonstrations import Demonstrations
    from manyways.tasks import Task


def provenance(
    *,
    seeds: Sequence[int] = (),
    budget: dict[str, int] | None = None,
    data: str | None = None,
    task: "Task | None" = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Return where a result comes from, for its file.

    Args:
        seeds: of everything random in it.
        budget: what was spent, such as {"iterations": 3000, "environment_steps": 0}.
        data: fingerprint of the demonstrations (`data_fingerprint`), where there are any.
        task: whose expert the result stands beside, where there is one.
        command: how a person gets it again; what this process was started with unless given.
    """
    return {
        "version": manyways.__version__,
        "commit": _commit(),
        "data": data,
        "expert": None if task is None else expert_fingerprint(task),
        "seeds": [int(seed) for seed in seeds],
        "budget": budget or {},
        "machine": _machine(),
        "command": command or command_line(),
        "date": time.strftime("%Y-%m-%d"),
    }


def data_fingerprint(demonstrations: "Demonstrations") -> str:
    """Return 64 characters that differ where demonstrations do."""
    digest = hashlib.sha256()
    arrays = [*entries(demonstrations.observations), ("", demonstrations.actions), ("", demonstrations.lengths)]
    for name, array in arrays:
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        for _, block in blocks(array):
            digest.update(np.ascontiguousarray(block).data)
    if demonstrations.labels is not None:
        digest.update(b"labels" + np.ascontiguousarray(demonstrations.labels).tobytes())
    if demonstrations.pairs is not None:
        for known in (demonstrations.pairs.linked, demonstrations.pairs.different):
            digest.update(f"pairs {known.shape}".encode() + np.ascontiguousarray(known).tobytes())
    if demonstrations.rotations:
        digest.update(json.dumps(demonstrations.rotations.to_json()).encode())
    return digest.hexdigest()


def expert_fingerprint(task: "Task") -> str | None:
    """Return what tells a task's expert from others: of its weights and its frame, or of its code; None without one."""
    from manyways.errors import InputError

    if task.scripted_expert is not None:
        return _digest(_source(task.scripted_expert))
    try:
        return _digest(f"{task.trained_expert.fingerprint} {type(task.frame).__name__} {vars(task.frame)}")
    except InputError:  # none has been trained
        return None


def command_line() -> str:
    """Return the command that started this process, as a person types it; of absolute paths only their last part."""
    program = Path(sys.argv[0])
    arguments = [Path(one).name if Path(one).is_absolute() else one for one in sys.argv[1:]]
    if program.name in ("manyways", "__main__.py"):
        return shlex.join(["manyways", *arguments])
    return shlex.join(["python", *([_relative(program)] if sys.argv[0] else []), *arguments])


def _relative(path: Path) -> str:
    """Return a script's path from its repository, so that the command says nothing of the machine."""
    whole = path.resolve()
    root = next((parent for parent in whole.parents if (parent / ".git").exists()), None)
    return path.name if root is None else whole.relative_to(root).as_posix()


@cache
def _commit() -> str | None:
    """Return the git commit of the package's checkout, with a mark where files differ; None where it is installed."""
    folder = Path(__file__).parent
    if not any((parent / ".git").exists() for parent in folder.parents):
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "HEAD").strip() + ("-changed" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _machine() -> dict[str, Any]:
    """Return what the speed depends on: the processor, how many cores this process may use, and PyTorch's threads."""
    import torch

    return {"processor": _processor(), "cores": _cores(), "threads": torch.get_num_threads()}


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _source(what: Any) -> str:
    """Return the code that something is defined by, or its name where there is no code to read."""
    try:
        return inspect.getsource(what)
    except (OSError, TypeError):
        return f"{getattr(what, '__module__', '')}:{getattr(what, '__qualname__', repr(what))}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
