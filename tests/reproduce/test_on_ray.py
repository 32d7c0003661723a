import json
import time
from collections import Counter
from pathlib import Path

import pytest

from manyways import InputError
from manyways.reproduce.experiments import Experiment
from manyways.reproduce.on_ray import run_on_ray, size_of

LIST = [Experiment("circles", "sog-bc", "sog-bc", seed) for seed in range(6)]


def test_sizes_are_read():
    assert size_of("2GB") == 2_000_000_000
    assert size_of("0.5 mb") == 500_000
    for wrong in ("2", "GB", "-1GB", "much", ""):
        with pytest.raises(InputError, match="give a size such as 500MB or 2GB"):
            size_of(wrong)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Return a cluster of two nodes with one core each, to which this process is connected, and its second node."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    memory = {"num_cpus": 1, "object_store_memory": 100_000_000}
    nodes = Cluster(initialize_head=True, head_node_args=memory)
    second = nodes.add_node(**memory)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="error")
    yield nodes, second
    ray.shutdown()
    nodes.shutdown()


def fake(folder: Path, fails: int = 0):
    """Return work of a second that logs its start and its end, and leaves a result that it reads the next time."""

    def work(experiment):
        import ray

        def log(what):
            with open(folder / "log", "a") as file:
                file.write(
                    json.dumps([what, experiment.seed, ray.get_runtime_context().get_node_id(), time.time()]) + "\n"
                )

        result = folder / str(experiment.seed)
        if not result.exists():
            log("started")
            started = sum(1 for line in lines(folder) if line[:2] == ["started", experiment.seed])
            if experiment.seed == 0 and started <= fails:
                raise InputError("the folder is held by another process; wait")
            time.sleep(2.5)
            log("finished")
            result.write_text("done")
        return {"seed": experiment.seed}

    return work


def lines(folder):
    return [json.loads(line) for line in (folder / "log").read_text().splitlines()]


def test_a_node_that_is_killed_at_work_loses_nothing_and_nothing_is_done_twice(cluster, tmp_path):
    nodes, second = cluster
    killed, results = [], []

    def kill(_=None):
        newest = lines(tmp_path)[-1] if (tmp_path / "log").exists() else []
        if not killed and newest[:1] == ["started"] and newest[2] == second.node_id and time.time() - newest[3] < 1:
            nodes.remove_node(second, allow_graceful=False)
            killed.append(newest[1])

    for outcome in run_on_ray(LIST, fake(tmp_path), on_wait=kill):
        results.append(outcome.result and outcome.result["seed"])
        end = time.time() + 1
        while not killed and time.time() < end:
            kill()
            time.sleep(0.05)
    assert len(killed) == 1
    assert sorted(results) == [each.seed for each in LIST]
    counts = Counter(tuple(line[:2]) for line in lines(tmp_path))
    assert [counts["finished", each.seed] for each in LIST] == [1] * len(LIST)
    assert [counts["started", each.seed] for each in LIST] == [1 + (each.seed in killed) for each in LIST]


def test_what_fails_is_tried_again_and_what_goes_on_failing_is_told(cluster, tmp_path):
    outcomes = list(run_on_ray(LIST[:2], fake(tmp_path, fails=2), retries=2))
    assert [outcome.error for outcome in outcomes] == ["", ""]
    (tmp_path / "0").unlink()
    (tmp_path / "log").unlink()
    failed = [outcome for outcome in run_on_ray(LIST[:2], fake(tmp_path, fails=2), retries=1) if outcome.error]
    assert [outcome.error for outcome in failed] == ["the folder is held by another process; wait"]
    with pytest.raises(InputError, match="no machine has 64 of CPU for a run: the most are 1 of CPU"):
        next(run_on_ray(LIST, fake(tmp_path), cores=64))


def test_without_ray_the_command_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(InputError, match=r"Ray is not installed; run `pip install \"manyways\[ray\]\"`"):
        next(run_on_ray(LIST, fake(Path())))
