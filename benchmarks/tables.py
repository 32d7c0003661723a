"""Rows of Tables 1 to 3: every algorithm, on each task, for each seed.

Table 1: mean return over 100 rollouts, codes matched to modes, of the best training iteration. Tables 2 and 3, where
modes are a range: hit rate and entropy, mutual information. Beside that, which modes rollouts are of when nobody
chooses the code, and the return with a fifth of the actions at random (Figure 7).
"""

import json
import statistics
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

import manyways
from manyways.algorithms import get_algorithm
from manyways.algorithms.adversarial.loop import Adversarial
from manyways.cli.console import progress
from manyways.evaluation import PolicyEvaluator, evaluate, evaluate_continuous, evaluate_coverage, purity
from manyways.evaluation.robustness import with_random_actions, with_switched_codes
from manyways.files import write_json
from manyways.policies.policy import Policy
from manyways.runs.run import Run
from manyways.tasks import DiscreteModes, Task, get_task, task_names
from manyways.tasks.collect import cached_demonstrations, collect

ROOT = Path(__file__).parents[1]

# Table 1: mean return over the expert's.
PAPER = {
    "sog-bc": {
        "circles": 0.994,
        "ant-fwd-back": 1.09,
        "ant-dir-6": 1.04,
        "halfcheetah-fwd-back": 0.13,
        "humanoid-dir-6": 0.97,
        "walker2d-vel-6": 1.01,
        "hopper-vel-6": 1.00,
    },
    "sog-gail": {
        "circles": 0.988,
        "ant-fwd-back": 1.03,
        "ant-dir-6": 0.99,
        "halfcheetah-fwd-back": 0.909,
        "humanoid-dir-6": 0.88,
        "walker2d-vel-6": 0.86,
        "hopper-vel-6": 0.90,
    },
}


def main(
    tasks: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
    *,
    algorithms: tuple[str, ...] = ("sog-bc",),
    seeds: tuple[int, ...] = (0, 1),
    total_steps: int = 1_000_000,
    label: str | None = None,
    settings: str = "{}",
    runs: Path = ROOT / "runs" / "tables",
    threads: int = 1,
) -> None:
    """Measure each seed of each algorithm on each task, or read it where its file is there.

    Args:
        tasks: names; all with an expert unless given.
        algorithms: their names on the command line.
        seeds: of training and rollouts.
        total_steps: environment steps, of algorithms that take any.
        label: folder of the results in place of the algorithm's name, for other settings than its own.
        settings: other settings, as JSON.
        runs: folder of the runs, which go on where they stopped.
        threads: for PyTorch.
    """
    torch.set_num_threads(threads)
    for name in tasks or task_names():
        task = get_task(name)
        try:
            path = cached_demonstrations(task)
            if not path.exists():
                collect(task, task.demonstrations, path)
        except manyways.InputError as error:  # no expert yet
            print(f"{name}: left out ({error})")
            continue
        for algorithm in algorithms:
            results = []
            for seed in seeds:
                file = ROOT / "results" / name / (label or algorithm) / f"seed-{seed}.json"
                if not file.exists():
                    chosen = _settings(algorithm, task, seed, total_steps, json.loads(settings))
                    folder = runs / name / (label or algorithm) / f"seed-{seed}"
                    write_json(file, measure(task, chosen, path, folder))
                results.append(json.loads(file.read_text()))
                show(results[-1])
            summarise(name, algorithm, results)


def _settings(algorithm: str, task: Task, seed: int, total_steps: int, others: dict[str, Any]) -> Any:
    """Return the algorithm's settings: its own but for what is given."""
    chosen = get_algorithm(algorithm)
    given: dict[str, Any] = {"seed": seed} | others
    if algorithm in ("sog-bc", "sog-gail", "infogail", "vae-gail"):
        listed = isinstance(task.modes, DiscreteModes)
        given["prior"] = manyways.Categorical(len(task.modes)) if listed else manyways.Gaussian(task.modes.dimension)
    if issubclass(chosen, Adversarial):
        given["total_steps"] = total_steps
    return chosen(**given)


def measure(task: Task, settings: Any, data: Path, folder: Path) -> dict[str, Any]:
    """Train in a folder, roll out, and return what the result file holds."""
    demonstrations, labels = manyways.Demonstrations.load(data), manyways.load_modes(data)
    adversarial = isinstance(settings, Adversarial)
    training = settings.start(demonstrations, *([task.make_vec(settings.environments)] if adversarial else []))
    judge = PolicyEvaluator(task, demonstrations, labels) if adversarial else None
    run = Run.create(folder, settings, demonstrations, task=task.name, data=str(data), command="benchmarks/tables.py")
    with progress(f"{task.name}, {settings.name}, seed {settings.seed}", training.iterations, "iterations") as update:
        run.train(training, lambda training: update(training.iteration, f"loss {training.loss:.4f}"), judge)
    policy, seed = run.policy(), settings.seed
    result = {"task": task.name, "algorithm": settings.name, "seed": seed}
    if isinstance(policy, Policy) and not isinstance(task.modes, DiscreteModes):
        result |= evaluate_continuous(policy, task, demonstrations, labels, episodes=100, seed=seed).to_json()
    elif isinstance(policy, Policy):
        result |= evaluate(policy, task, episodes=100, seed=seed).to_json()
        result["coverage"] = evaluate_coverage(policy, task, episodes=100, seed=seed).to_json()
        result["random_actions"] = with_random_actions(policy, task, 0.2, episodes=100, seed=seed).to_json()
        switched = with_switched_codes(policy, task, result["assignment"], episodes=100, seed=seed)
        result["switched_codes"] = switched.to_json()
        if adversarial:  # the best is chosen by undisturbed rollouts
            last = run.coded_policy("last")
            result["random_actions_last"] = with_random_actions(last, task, 0.2, episodes=100, seed=seed).to_json()
            switched = with_switched_codes(last, task, result["random_actions_last"]["assignment"], 100, seed)
            result["switched_codes_last"] = switched.to_json()
        if settings.name in ("sog-bc", "sog-gail"):
            result["purity"] = purity(policy.losses(demonstrations).argmin(axis=1), labels)
    else:
        result |= {"coverage": evaluate_coverage(policy, task, episodes=100, seed=seed).to_json()}
    steps = training.ppo.steps if adversarial else 0
    spent = {"environment_steps": steps, "wall_seconds": run.metrics()[-1]["seconds"], "settings": settings.to_json()}
    return result | {"best": run.best, "warnings": getattr(training, "warnings", [])} | spent


def show(result: dict[str, Any]) -> None:
    """Print one line of a result."""
    start = f"{result['task']} {result['algorithm']} seed {result['seed']}:"
    if "return_mean" in result:
        start += f" {result['return_mean']:.1f} ± {result['return_std']:.1f}, expert {result['expert_return_mean']:.1f}"
    names = ("mutual_information_nats", "expert_mutual_information_nats", "hit_rate", "entropy_nats", "purity")
    numbers = [f"{name} {result[name]:.3f}" for name in names if result.get(name) is not None]
    if result.get("assignment"):
        pairs = [(code, mode) for code, mode in enumerate(result["assignment"]) if mode is not None]
        numbers.append(f"least code {min(result['return_matrix'][code][mode] for code, mode in pairs):.1f}")
    if result.get("random_actions"):
        numbers.append(f"with random actions {result['random_actions']['return_mean']:.1f}")
    if result.get("random_actions_last"):
        numbers.append(f"of the last policy {result['random_actions_last']['return_mean']:.1f}")
    for which in ("switched_codes", "switched_codes_last"):
        if result.get(which):
            numbers.append(
                f"{which} {result[which]['return_mean']:.1f} (last to the end: {result[which]['survived']:.0%})"
            )
    if result.get("coverage"):
        coverage = result["coverage"]
        numbers.append(
            f"unchosen: {coverage['mode_counts']}, entropy {coverage['behaviour_entropy']:.2f}, return "
            f"{coverage['return_mean']:.1f} of {coverage['expert_return_mean']:.1f}"
        )
    print(", ".join([start, *numbers, f"{result['wall_seconds']:.0f} s"]), flush=True)


def summarise(task: str, algorithm: str, results: list[dict[str, Any]]) -> None:
    """Print the median over the seeds."""
    if all("assignment" in result for result in results):
        ratios = [result["return_mean"] / result["expert_return_mean"] for result in results]
        paper = PAPER.get(algorithm, {}).get(task, "not given")
        print(f"{task} {algorithm}: median ratio to the expert {statistics.median(ratios):.3f} (the paper's: {paper})")


if __name__ == "__main__":
    tyro.cli(main)
