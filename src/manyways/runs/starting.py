"""What a run takes over from an earlier one: its policy to start from, and the names of its modes."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyways.errors import InputError
from manyways.runs.progress import Progress
from manyways.runs.run import Run, Which

if TYPE_CHECKING:
    from manyways.demonstrations import Demonstrations
    from manyways.policies.policy import Policy


def earlier_policy(earlier: "str | Path | Run | Policy", which: Which | None = None) -> "Policy":
    """Return the policy of an earlier run, of a policy's folder, or as it is; `which` of a run's, as `Run.policy`.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    if isinstance(earlier, Run):
        return earlier.policy(which)
    if not isinstance(earlier, str | Path):
        return earlier
    folder = Path(earlier)
    if not folder.is_dir():  # before PyTorch is imported
        raise InputError(f"{folder} is no folder; give that of an earlier run or of a policy")
    from manyways.policies.policy import load_policy

    return Run.open(folder).policy(which) if (folder / "config.json").is_file() else load_policy(folder)


def origin(earlier: "str | Path | Run | Policy | None", policy: "Policy | None") -> dict[str, Any]:
    """Return what config.json says of the policy that training starts from; nothing where there is none."""
    from manyways.policies.files import fingerprint

    if policy is None:
        return {}
    path = earlier.path if isinstance(earlier, Run) else earlier
    where = str(Path(path).resolve()) if isinstance(path, str | Path) else None
    return {"init": {"policy": where, "fingerprint": fingerprint(policy)}}


def take_names(
    run: Run, earlier: "Policy", demonstrations: "Demonstrations", progress: Progress, aligned: bool = False
) -> None:
    """Give the modes of a finished run the names that an earlier policy has for them: see `Policy.take_names`."""
    if not earlier.names:
        return
    policy = run.policy()
    with progress.section("matching the named modes"):
        lost = policy.take_names(earlier, demonstrations, aligned)
    run.set_names(policy.names)
    for name in lost:
        progress.warn(
            f"no mode of {run.path} is what was called {name!r} before; look at the page, and name it with "
            f"`manyways name {run.path} CODE NAME`"
        )
