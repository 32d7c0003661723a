"""Owns the run's folder: its files, going on where training stopped, and refusing folders of something else.

config.json          what was asked for, and the exact command
checkpoint/          enough to go on bit for bit
metrics.jsonl        a line each few iterations; tensorboard/ has the same
policy.json, policy.safetensors
best/                the policy that was judged best on the way, where the algorithm runs the environments
modes.json, evaluation.json, report.html    what the commands of these names write
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from manyways.algorithms import Algorithm, Training
from manyways.algorithms.adversarial.loop import AdversarialTraining
from manyways.demonstrations import Demonstrations
from manyways.errors import InputError
from manyways.evaluation import ContinuousEvaluation, Coverage, Evaluation, PolicyReturns
from manyways.files import is_partial, read_json, read_tensors, write_bytes, write_json, write_tensors
from manyways.policies.codeless import CodelessPolicy
from manyways.policies.policy import Policy
from manyways.runs.tensorboard import EventWriter

_FORMAT = 1
_CONFIG = "config.json"
_METRICS = "metrics.jsonl"
_BEST = "best"
_SECONDS_BETWEEN_CHECKPOINTS = 5.0
_FIRST_LOGGED = 50  # iterations that are each logged: codes find their trajectories in these
_LATER_LOGGED = 200  # lines for the rest
_UPDATES_LOGGED = 500  # lines for the updates from rollouts

Judge = Callable[[Policy], PolicyReturns]


class Run:
    """The folder of one training run.

    Attributes:
        path: the folder.
        config: what config.json holds: `algorithm`, `settings`, `task`, `data`, `data_sha256`, `command`.
    """

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path = path
        self.config = config

    @classmethod
    def create(
        cls,
        path: Path,
        algorithm: Algorithm,
        demonstrations: Demonstrations,
        *,
        task: str | None,
        data: str,
        command: str,
        mode_count: dict[str, Any] | None = None,
    ) -> "Run":
        """Start a run in a new or empty folder, or take up the one that is there if it is the same.

        Args:
            path: the folder; demonstrations may lie in it already, as `demonstrations`.
            algorithm: with its settings.
            demonstrations: to train on; a run that is taken up must have the same.
            task: name of the task, or None for data alone.
            data: where the demonstrations were read from.
            command: how a person would do it again.
            mode_count: the evidence for the number of codes, where it was counted (`ModeCount.to_json`).

        Raises:
            InputError: the folder holds something else, or a run of other settings or data.
            WriteError: the system refused to write.
        """
        config = {
            "format": _FORMAT,
            "algorithm": algorithm.name,
            "settings": algorithm.to_json(),
            "task": task,
            "data": data,
            "data_sha256": _fingerprint(demonstrations),
            "command": command,
            "mode_count": mode_count,
        }
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; give a folder for the run")
        if (path / _CONFIG).exists():
            run = cls.open(path)
            run._require_same(config)
            return run
        others = list(path.iterdir()) if path.exists() else []
        others = [other for other in others if other.name != "demonstrations" and not is_partial(other)]
        if others:
            raise InputError(f"{path} holds something else ({min(others).name}); give a new or empty folder")
        write_json(path / _CONFIG, config)
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
        needed = {"format", "algorithm", "settings", "task", "data", "data_sha256", "command"}
        if not isinstance(config, dict) or not needed <= set(config) or not isinstance(config["settings"], dict):
            raise InputError(f"{path / _CONFIG} is damaged; restore it, or train again in another folder")
        if config["format"] != _FORMAT:
            raise InputError(f"{path / _CONFIG} has format {config['format']}; this version reads {_FORMAT}")
        return cls(path, config)

    def _require_same(self, config: dict[str, Any]) -> None:
        """Raise `InputError` unless this run was asked for the same."""
        old, new = (
            {"algorithm": c["algorithm"], "task": c["task"], "data_sha256": c["data_sha256"], **c["settings"]}
            for c in (self.config, config)
        )
        for name in old | new:
            if name == "data_sha256" and old[name] != new[name]:
                raise InputError(
                    f"{self.path} is a run on other data ({self.config['data']}, as it was then); "
                    "go on with that, or give another folder"
                )
            if old.get(name) != new.get(name):
                raise InputError(
                    f"{self.path} is a run with {name} {_short(old.get(name))}, not {_short(new.get(name))}; "
                    "go on with the same, or give another folder"
                )

    @property
    def checkpoint(self) -> Path:
        """The file that training goes on from."""
        return self.path / "checkpoint" / "training.safetensors"

    @property
    def title(self) -> str:
        """What the run is, in a few words."""
        return f"{self.config['task'] or Path(self.config['data']).name}, {self.config['algorithm']}, seed {self.seed}"

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return int(self.config["settings"]["seed"])

    def policy(self, which: Literal["best", "last"] | None = None) -> Policy | CodelessPolicy:
        """Read the trained policy.

        Args:
            which: the best that was judged on the way, or the last; the best unless given, where there is one.

        Raises:
            InputError: training has not ended, there is no such policy, or a file is damaged.
        """
        if not (self.path / "policy.json").is_file():
            raise InputError(f"{self.path} has no policy yet; run the same `manyways train` again to finish it")
        best = self.path / _BEST
        if which == "best" and not best.is_dir():
            raise InputError(
                f"{self.path} has no best policy, since {self.config['algorithm']} is not judged on the way"
            )
        return load_policy(best if which != "last" and best.is_dir() else self.path)

    def coded_policy(self, which: Literal["best", "last"] | None = None) -> Policy:
        """Read the trained policy, of an algorithm that has codes; arguments as for `policy`.

        Raises:
            InputError: it has none, or as `policy`.
        """
        policy = self.policy(which)
        if not isinstance(policy, Policy):
            raise InputError(
                f"{self.config['algorithm']} has no codes, so there are none to show; see `manyways evaluate "
                f"{self.path}` for the modes that its rollouts are of"
            )
        return policy

    @property
    def best(self) -> dict[str, Any] | None:
        """When the best policy was judged, and how: `iteration`, `environment_steps`, `return_mean`."""
        path = self.path / _BEST / "judged.json"
        return read_json(path) if path.exists() else None

    def metrics(self) -> list[dict[str, Any]]:
        """Read the lines of metrics.jsonl.

        Raises:
            InputError: the file is missing or damaged.
        """
        lines = list(_metric_lines(self.path / _METRICS))
        if not lines:
            raise InputError(f"{self.path / _METRICS} is empty; restore the file or train again")
        return lines

    @property
    def evaluation_file(self) -> Path:
        """Where `write_evaluation` writes."""
        return self.path / "evaluation.json"

    def write_evaluation(
        self,
        evaluation: Evaluation | ContinuousEvaluation | Coverage,
        coverage: Coverage | None = None,
        which: Literal["best", "last"] | None = None,
    ) -> None:
        """Write evaluation.json.

        Args:
            evaluation: of the policy.
            coverage: of the same policy beside it, where modes can be listed.
            which: policy it is, where there are two.

        Raises:
            WriteError: the system refused to write.
        """
        origin = {"task": self.config["task"], "algorithm": self.config["algorithm"], "seed": self.seed}
        beside: dict[str, Any] = {} if coverage is None else {"coverage": coverage.to_json()}
        if self.best is not None:
            chosen = which or "best"
            beside |= {"policy": chosen, "best": self.best}
        write_json(self.evaluation_file, origin | evaluation.to_json() | beside)

    def evaluation(self) -> Evaluation | ContinuousEvaluation | Coverage | None:
        """Read evaluation.json; None where the run has not been evaluated.

        Raises:
            InputError: the file is damaged.
        """
        if not self.evaluation_file.exists():
            return None
        try:
            value = read_json(self.evaluation_file)
            if "mode_counts" in value:
                return Coverage.from_json(value)
            return (Evaluation if "assignment" in value else ContinuousEvaluation).from_json(value)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{self.evaluation_file} is damaged ({error!r}); run `manyways evaluate` again") from error

    def train(
        self,
        training: Training,
        on_iteration: Callable[[Any], object] = lambda training: None,
        judge: Judge | None = None,
    ) -> Policy | CodelessPolicy:
        """Train to the end from where the run stands, and write the policy.

        The best policy on the way by the mean return of its rollouts is kept beside the last, as in the paper.

        Args:
            training: at its first iteration, of this run's settings and demonstrations.
            on_iteration: called after each iteration with the training, for progress.
            judge: rolls a policy out, for algorithms that run the environments; their policy is judged now and then.

        Raises:
            InputError: the checkpoint is damaged.
            WriteError: the system refused to write; the same call goes on from the last checkpoint.
        """
        if self.checkpoint.exists():
            training.restore(read_tensors(self.checkpoint))
        log = _Log(self.path, training.iteration)
        saved = time.monotonic()
        try:
            while not training.finished:
                training.step()
                verdict = self._judged(training, judge)
                log.record(training, {} if verdict is None else verdict.scalars())
                if _at_checkpoint(training) and time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                    self._save(training, log)
                    saved = time.monotonic()
                on_iteration(training)
        except KeyboardInterrupt:
            if _at_checkpoint(training):
                self._save(training, log)
            raise
        else:
            self._save(training, log)
        finally:
            log.close()
        policy = training.policy()
        policy.save(self.path)
        return policy

    def _judged(self, training: Training, judge: Judge | None) -> PolicyReturns | None:
        """Judge the policy if it is due, and keep it if it is the best so far."""
        if judge is None or not isinstance(training, AdversarialTraining) or not training.to_be_judged:
            return None
        policy = training.policy(counted=False)
        verdict = judge(policy)
        best = self.best
        if best is None or verdict.return_mean > best["return_mean"]:
            training.policy().save(self.path / _BEST)
            judged = {"iteration": training.iteration, "environment_steps": training.ppo.steps}
            write_json(self.path / _BEST / "judged.json", judged | {"return_mean": verdict.return_mean})
        return verdict

    def _save(self, training: Training, log: "_Log") -> None:
        # The metrics first: lines beyond the checkpoint are dropped when going on, but missing ones are lost.
        log.write()
        write_tensors(self.checkpoint, training.state())


def load_policy(folder: Path) -> Policy | CodelessPolicy:
    """Read the policy in this folder, whichever kind it is of.

    Raises:
        InputError: there is none, or a file of it is damaged.
    """
    description = read_json(folder / "policy.json")
    if isinstance(description, dict) and "kind" in description:
        return CodelessPolicy.load(folder)
    return Policy.load(folder)


def _at_checkpoint(training: Training) -> bool:
    """Whether training can go on from here bit for bit."""
    return training.at_checkpoint if isinstance(training, AdversarialTraining) else True


class _Log:
    """Sums iterations up into lines of metrics.jsonl and TensorBoard's events."""

    def __init__(self, folder: Path, iteration: int) -> None:
        self._path = folder / _METRICS
        self._lines: list[dict[str, Any]] = []
        if iteration:
            self._lines = [line for line in _metric_lines(self._path) if line["iteration"] <= iteration]
        self._events = EventWriter(folder / "tensorboard", start=iteration + 1)
        self._seconds = self._lines[-1]["seconds"] if self._lines else 0.0
        self._start_interval()

    def _start_interval(self) -> None:
        self._began = time.monotonic()
        self._scalars: dict[str, list[float]] = {}
        self._steps = 0
        self._usage: list[np.ndarray] = []

    def record(self, training: Training, judged: dict[str, float]) -> None:
        """Add an iteration, and what was judged after it; make a line where one is due."""
        for name, value in training.scalars().items():
            self._scalars.setdefault(name, []).append(value)
        self._steps += training.steps_per_iteration
        self._usage.append(training.code_usage)
        every = max(1, training.iterations // _LATER_LOGGED)
        if isinstance(training, AdversarialTraining) and training.pretraining is None:
            every = max(1, training.settings.updates // _UPDATES_LOGGED)
        due = training.iteration <= _FIRST_LOGGED or training.iteration % every == 0
        if not (due or training.finished or judged):
            return
        seconds = time.monotonic() - self._began
        self._seconds += seconds
        won = np.sum(self._usage, axis=0)
        usage = (won / max(1, won.sum())).round(6).tolist()
        scalars = {name: float(np.mean(values)) for name, values in self._scalars.items()} | {
            "learning_rate": training.learning_rate,
            "steps_per_second": round(self._steps / max(seconds, 1e-9)),
        }
        scalars |= judged
        self._lines.append(
            {"iteration": training.iteration, **scalars, "code_usage": usage, "seconds": round(self._seconds, 3)}
        )
        self._events.add(
            training.iteration, scalars | {f"code_usage/{code}": share for code, share in enumerate(usage)}
        )
        self._start_interval()

    def write(self) -> None:
        """Put the lines so far on the disk."""
        write_bytes(self._path, "".join(json.dumps(line) + "\n" for line in self._lines).encode())
        self._events.flush()

    def close(self) -> None:
        """End TensorBoard's events."""
        self._events.close()


def _metric_lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the same `manyways train` again to finish the run") from None
    for number, text in enumerate(lines, start=1):
        try:
            line = json.loads(text)
            numbers = [line[name] for name in ("iteration", "loss", "seconds", "steps_per_second")] + line["code_usage"]
            if not all(isinstance(number, int | float) for number in numbers):
                raise ValueError("not numbers")
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"line {number} of {path} is damaged ({error}); restore the file or train again"
            ) from error
        yield line


def _fingerprint(demonstrations: Demonstrations) -> str:
    digest = hashlib.sha256()
    for array in (demonstrations.observations, demonstrations.actions, demonstrations.lengths):
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _short(value: Any) -> str:
    if isinstance(value, dict) and "kind" in value:
        size = value.get("size")
        return f"{size} codes" if size else f"a continuous code of {value.get('dimension')}"
    return repr(value)
