"""Policies on the Hugging Face Hub: the two files, a model card, and pictures if there are any."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyways.demonstrations import spaces
from manyways.errors import InputError
from manyways.hub import HUB_NAME, hub_client
from manyways.policies.storage import DESCRIPTION_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from manyways.policies.policy import Policy


def push(
    policy: "Policy",
    name: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Upload a policy",
    facts: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
) -> str:
    """Upload a policy with its card and return the address.

    Args:
        policy: to upload.
        name: USER/NAME; made unless it is there.
        private: whether a new one is.
        token: of the user; that of `hf auth login` unless given.
        message: of the commit.
        facts: sentences for the card beside what the policy knows.
        files: further ones by path, such as pictures/modes.png; pictures are shown on the card.

    Raises:
        InputError: the name is none, the extra is missing, or the Hub refuses.
    """
    if not HUB_NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name on the Hub; give USER/NAME of letters, digits, '-', '_' and '.'")
    more = dict(files or {})
    with hub_client(f"uploading to {name}") as hub, tempfile.TemporaryDirectory() as folder:
        policy.save(folder)
        contents = {own: (Path(folder) / own).read_bytes() for own in (DESCRIPTION_FILE, WEIGHTS_FILE)}
        contents |= more | {"README.md": card(policy, name, facts, sorted(more)).encode()}
        api = hub.HfApi(token=token, library_name="manyways")
        made = api.create_repo(name, private=private, exist_ok=True)
        operations = [hub.CommitOperationAdd(path, content) for path, content in contents.items()]
        api.create_commit(name, operations, commit_message=message)
    return str(made)


def pull(name: str, revision: str | None = None) -> Path:
    """Return the folder of a policy on the Hub, downloaded or as it was downloaded before.

    Raises:
        InputError: the extra is missing, or there is no such policy that this user may read.
    """
    with hub_client(f"{name} is no folder here, and reading it from the Hub") as hub:
        names = [DESCRIPTION_FILE, WEIGHTS_FILE]
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=names, library_name="manyways"))


def card(policy: "Policy", name: str, facts: Sequence[str], files: Sequence[str]) -> str:
    """Return the model card: what the policy is, its modes, where it comes from, and how to use it."""
    origin = policy.provenance
    lines = ["---", "library_name: manyways", "pipeline_tag: robotics", "tags:"]
    lines += [f"- {tag}" for tag in ("imitation-learning", "multimodal", "manyways", origin.get("algorithm")) if tag]
    lines += ["---", "", f"# {name}", ""]
    lines += ["A policy with a code for each mode of a task, learned by manyways."]
    lines += ["", f"- observation: {spaces.describe(policy.observation_space)}{_columns(policy.observation_space)}"]
    lines += [f"- action: {spaces.describe(policy.action_space)}{_columns(policy.action_space)}"]
    lines += [f"- codes: {policy.prior or 'none'}"]
    lines += [f"- {key}: {_one_line(origin[key])}" for key in ("algorithm", "data", "date") if origin.get(key)]
    lines += [f"- {fact}" for fact in facts]
    if policy.modes:
        lines += ["", "| code | name | demonstrations | share |", "| --- | --- | --- | --- |"]
        for mode in policy.modes:
            lines.append(f"| {mode.code} | {_cell(mode.name or '')} | {mode.trajectories:,} | {mode.share:.1%} |")
    lines += [f"\n![{Path(file).stem}]({file})" for file in files if file.endswith(".png")]
    if origin.get("command"):
        lines += ["", "It was made by", "", f"    {_one_line(origin['command'])}"]
    which = "" if policy.prior is None else ", policy.code(0)" if policy.modes else ", policy.code(0.5)"
    lines += ["", "## Use", "", "```python", "import manyways", "", f'policy = manyways.load_policy("{name}")']
    return "\n".join([*lines, f"action, state = policy.predict(observation{which}, deterministic=True)", "```", ""])


def _columns(space: Any) -> str:
    names = getattr(space, "names", None)
    return f" ({', '.join(map(_one_line, names))})" if names else ""


def _one_line(text: Any) -> str:
    return " ".join(str(text).split())


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")
