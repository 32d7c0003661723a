"""Owns the run's folder: its files, going on where training stopped, and refusing folders of something else.

config.json          what was asked for, and the exact command
checkpoint/          enough to go on bit for bit
metrics.jsonl        a line each few iterations; tensorboard/ has the same
policy.json, policy.safetensors
best/                the policy that was judged best on the way, where the algorithm runs the environments
modes.json, evaluation.json, report.html    what the commands of these names write
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manyways.errors import InputError
from manyways.files import is_partial, read_json, write_json
from manyways.policies.modes import read_names, write_names
from manyways.policies.storage import DESCRIPTION_FILE
from manyways.runs.lock import LOCK
from manyways.runs.loggers import METRICS, read_metrics

if TYPE_CHECKING:
    from manyways.demonstrations import Edits, Selection
    from manyways.evaluation import ContinuousEvaluation, Coverage, EnvironmentEvaluation, Evaluation
    from manyways.networks.encoders import Encoder
    from manyways.policies.policy import Policy

_FORMAT = 2
_CONFIG = "config.json"
_BEST = "best"
_FIELDS = {"format", "algorithm", "settings", "task", "weights", "data", "mode_count", "provenance"}

Which = Literal["best", "last"]


class Run:
    """The folder of one training run.

    Attributes:
        path: the folder.
        config: what config.json holds: `algorithm`, `settings`, `task`, `weights` (of the task's expert, where they are
            not those that ship), `data` (where the demonstrations were read from; None for those in memory),
            `selection` (what of them was taken, where that is not all), `edits` (`Edits`, where there were some),
            `init` (the policy that training started from, where there is one), `mode_count` (the evidence for the
            number of modes, where it was counted), `provenance`.
        encoder: the module that training was given, to read the policy with; None if config.json has its name. It is
            not in the folder, so set it on a run that is opened again.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.encoder: Encoder = None

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {self.title})"

    @classmethod
    def create(cls, path: Path, config: dict[str, Any]) -> "Run":
        """Start a run in a new or empty folder, or take up the one that is there if it is the same.

        Args:
            path: the folder; demonstrations may lie in it already, as `demonstrations`.
            config: what the run is asked for.

        Raises:
            InputError: the folder holds something else, or a run of other settings or data.
            WriteError: the system refused to write.
        """
        if (path / _CONFIG).exists():
            run = cls.open(path)
            run._require_same(config)
            return run
        require_room(path)
        write_json(path / _CONFIG, {"format": _FORMAT} | config)
        return cls(path, config)

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open the run in this folder.

        Raises:
            InputError: there is none, or its config.json is damaged.
        """
        if not (path / _CONFIG).is_file():
            raise InputError(f"{path} is not the folder of a run (it has no {_CONFIG}); make one with `manyways train`")
        config = read_json(path / _CONFIG)
        if isinstance(config, dict) and config.get("format", _FORMAT) != _FORMAT:
            raise InputError(f"{path / _CONFIG} has format {config['format']}; this version reads {_FORMAT}")
        if not isinstance(config, dict) or not isinstance(config.get("settings"), dict) or not set(config) >= _FIELDS:
            raise InputError(f"{path / _CONFIG} is damaged; restore it, or train again in another folder")
        return cls(path, config)

    def _require_same(self, config: dict[str, Any]) -> None:
        """Raise `InputError` unless this run was asked for the same."""
        if old_new := self._other_start(config):
            raise InputError(f"{self.path} is a run that started from {old_new}; go on so, or give another folder")
        old, new = ({"algorithm": c["algorithm"], "task": c["task"], **c["settings"]} for c in (self.config, config))
        for name in old | new:
            if old.get(name) != new.get(name):
                raise InputError(
                    f"{self.path} is a run with {name} {_short(old.get(name))}, not {_short(new.get(name))}; "
                    "go on with the same, or give another folder"
                )
        if self.config["provenance"]["data"] != config["provenance"]["data"]:
            raise InputError(
                f"{self.path} is a run on other data ({self.config['data'] or 'in memory'}, as it was then); "
                "go on with that, or give another folder"
            )

    def _other_start(self, config: dict[str, Any]) -> str:
        """Return what this run started from and what is asked for, if these differ, else ""."""
        was, asked = (each.get("init") or {} for each in (self.config, config))
        if was.get("fingerprint") == asked.get("fingerprint"):
            return ""
        old, new = ((each.get("policy") or "a policy in memory") if each else "nothing" for each in (was, asked))
        return f"{old}, not {new}" if old != new else f"{old} as it was then, not as it is now"

    @property
    def checkpoint(self) -> Path:
        """The file that training goes on from."""
        return self.path / "checkpoint" / "training.safetensors"

    @property
    def title(self) -> str:
        """What the run is, in a few words."""
        what = self.config["task"] or Path(self.config["data"] or "demonstrations").name
        return f"{what}, {self.config['algorithm']}, seed {self.seed}"

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.config["settings"]["seed"])

    @property
    def selection(self) -> "Selection":
        """What was taken of the data.

        Raises:
            InputError: config.json is damaged.
        """
        from manyways.demonstrations import Selection

        return Selection.from_json(self.config.get("selection", {}))

    @property
    def edits(self) -> "Edits":
        """What a person had decided about modes and demonstrations when training began; of a run without, nothing.

        Raises:
            InputError: config.json is damaged.
        """
        from manyways.demonstrations import Edits

        return Edits.from_json(self.config.get("edits", {}), str(self.path / _CONFIG))

    @property
    def has_policy(self) -> bool:
        """Whether training has ended."""
        return (self.path / "policy.json").is_file()

    def policy(self, which: Which | None = None) -> "Policy":
        """Read the trained policy.

        Args:
            which: the best that was evaluated on the way, or the last; the best unless given, where there is one.

        Raises:
            InputError: training has not ended, there is no such policy, or a file is damaged.
        """
        if not self.has_policy:
            raise InputError(f"{self.path} has no policy yet; run the same `manyways train` again to finish it")
        from manyways.policies.policy import Policy

        best = self.path / _BEST
        if which == "best" and not best.is_dir():
            raise InputError(
                f"{self.path} has no best policy, since {self.config['algorithm']} is not evaluated on the way"
            )
        encoder = self.config["settings"].get("encoder") or ""
        # As a task of one's own: what the run's folder names is imported from the path, never read from the folder.
        named = encoder if ":" in encoder else None
        return Policy.load(best if which != "last" and best.is_dir() else self.path, encoder=self.encoder or named)

    def coded_policy(self, which: Which | None = None) -> "Policy":
        """Read the trained policy, of an algorithm that has codes; arguments as for `policy`.

        Raises:
            InputError: it has none, or as `policy`.
        """
        policy = self.policy(which)
        if policy.prior is None:
            raise InputError(
                f"{self.config['algorithm']} has no codes, so there is nothing of that to show; see `manyways report "
                f"{self.path}` for what it learned"
            )
        return policy

    @property
    def names(self) -> dict[int, str]:
        """The names of the codes, of the policy that is in the folder; none where there is none yet.

        Raises:
            InputError: the policy has no list of codes, or its file is damaged.
        """
        return read_names(self.path)[0] if self.has_policy else {}

    def set_names(self, names: Mapping[int, str]) -> None:
        """Put these names of codes in place of those that the run's policies have, the last one and the best.

        Raises:
            InputError: training has not ended.
            WriteError: the system refused to write.
        """
        if not self.has_policy:
            raise InputError(f"{self.path} has no policy yet; run the same `manyways train` again to finish it")
        for folder in (self.path, self.path / _BEST):
            if (folder / DESCRIPTION_FILE).is_file():
                write_names(folder, names)

    def write_policy(self, policy: "Policy") -> None:
        """Write the policy at the end of training; names that were given to the one before it stay."""
        self._complete(policy)
        policy.save(self.path)

    def _complete(self, policy: "Policy") -> None:
        """Give a policy the names of the one before it, and say where it comes from."""
        if policy.modes and not policy.names:
            with contextlib.suppress(InputError):  # a damaged file is about to be replaced
                policy.names = self.names
        data = Path(self.config["data"]).name if self.config["data"] else None
        what = {"algorithm": self.config["algorithm"], "task": self.config["task"], "data": data}
        own = {name: value for name, value in self.config["provenance"].items() if name not in ("data", "machine")}
        policy.provenance = what | {"data_fingerprint": self.config["provenance"]["data"]} | own

    def write_best(self, policy: "Policy", evaluated: dict[str, Any]) -> None:
        """Keep the best policy so far; `evaluated` says when it was, and what its rollouts returned."""
        self._complete(policy)
        policy.save(self.path / _BEST)
        write_json(self.path / _BEST / "evaluated.json", evaluated)

    @property
    def best(self) -> dict[str, Any] | None:
        """When the best policy was evaluated, and how: `iteration`, `environment_steps`, `return_mean`."""
        path = self.path / _BEST / "evaluated.json"
        return read_json(path) if path.exists() else None

    def metrics(self) -> list[dict[str, Any]]:
        """Read the lines of metrics.jsonl.

        Raises:
            InputError: the file is missing or damaged.
        """
        lines = read_metrics(self.path / METRICS)
        if not lines:
            raise InputError(f"{self.path / METRICS} is empty; restore the file or train again")
        return lines

    @property
    def evaluation_file(self) -> Path:
        """What `evaluation` reads."""
        return self.path / "evaluation.json"

    def evaluation(self) -> "Evaluation | ContinuousEvaluation | Coverage | EnvironmentEvaluation | None":
        """Read evaluation.json; None where the run has not been evaluated.

        Raises:
            InputError: the file is damaged.
        """
        from manyways.evaluation import ContinuousEvaluation, Coverage, EnvironmentEvaluation, Evaluation

        if not self.evaluation_file.exists():
            return None
        try:
            value = read_json(self.evaluation_file)
            if "environment" in value:
                return EnvironmentEvaluation.from_json(value)
            if "mode_counts" in value:
                return Coverage.from_json(value)
            return (Evaluation if "assignment" in value else ContinuousEvaluation).from_json(value)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.evaluation_file} is damaged ({error!r}); run `manyways evaluate` again") from error


def require_room(path: Path) -> None:
    """Raise `InputError` unless a run can begin in this folder, or goes on there."""
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a folder for the run")
    if (path / _CONFIG).exists():
        return
    others = list(path.iterdir()) if path.exists() else []
    others = [other for other in others if other.name not in ("demonstrations", LOCK) and not is_partial(other)]
    if others:
        raise InputError(f"{path} holds something else ({min(others).name}); give a new or empty folder")


def _short(value: Any) -> str:
    if isinstance(value, dict) and "kind" in value:
        size = value.get("size")
        return f"{size} codes" if size else f"a continuous code of {value.get('dimension')}"
    return repr(value)
