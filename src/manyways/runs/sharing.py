"""A run's policy on the Hub, with what was found out about it."""

import base64
import re
from pathlib import Path
from typing import Any

from manyways.files import read_json
from manyways.policies import hub
from manyways.runs.run import Run, Which

_PICTURE = re.compile(r'<img src="data:image/png;base64,([A-Za-z0-9+/=]+)" alt="([^"]*)"')


def push(
    run: "str | Path | Run",
    name: str,
    *,
    private: bool = False,
    token: str | None = None,
    policy: Which | None = None,
) -> str:
    """Upload a run's policy with a card of its modes, its numbers and its pictures, and return the address.

    Numbers are from modes.json and evaluation.json, pictures from report.html, where these are.

    Args:
        run: finished.
        name: USER/NAME on the Hub.
        private: whether a new one is.
        token: of the user; that of `hf auth login` unless given.
        policy: the best that was evaluated on the way, or the last; the best unless given, where there is one.

    Raises:
        InputError: the run is not finished, a file of it is damaged, or as `Policy.push_to_hub`.
    """
    run = run if isinstance(run, Run) else Run.open(Path(run))
    return hub.push(run.policy(policy), name, private=private, token=token, facts=_facts(run), files=_pictures(run))


def _facts(run: Run) -> list[str]:
    from manyways.evaluation import EnvironmentEvaluation

    facts = []
    path = run.path / "modes.json"
    found: dict[str, Any] = read_json(path) if path.exists() else {}
    held = found.get("held_out")
    if held:
        facts.append(
            f"held-out loss: {held['loss']:.4f} ({len(held['trajectories'])} trajectories; always predicting the mean "
            f"action has {held['uninformed_loss']:.4f})"
        )
    if "purity" in found:
        facts.append(f"agreement with labels: purity {found['purity']:.3f}")
    evaluation = run.evaluation()
    if isinstance(evaluation, EnvironmentEvaluation):
        line = evaluation.undrawn
        facts.append(f"{evaluation.environment}, nobody choosing the code: return {line.return_.mean:.4g}")
        if line.success is not None:
            facts[-1] += f", success {line.success.mean:.0%} [{line.success.low:.0%}, {line.success.high:.0%}]"
    elif evaluation is not None:
        facts.append(f"{run.config['task']}: mean return {evaluation.return_mean:.4g} ± {evaluation.return_std:.4g}")
    return facts


def _pictures(run: Run) -> dict[str, bytes]:
    """Return the pictures of report.html by path."""
    path = run.path / "report.html"
    if not path.exists():
        return {}
    pictures = {}
    for data, text in _PICTURE.findall(path.read_text(encoding="utf-8")):
        name = "-".join(re.findall(r"[a-z0-9]+", text.lower())[:4]) or "picture"
        pictures[f"pictures/{name}.png"] = base64.b64decode(data)
    return pictures
