"""Large sets: peak memory and steps a second against the size, from the disk and from memory.

Each size is made as a LeRobot 3 data set, loaded as it is (a large one is unpacked into the cache), converted into a
folder of NPY files, and then inspected, counted and learned from, each time in a process of its own. Memory is what the
process allocates (anonymous pages); pages of mapped files stand beside it, which the system takes back when it needs
them.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet
import torch
import tyro

import manyways
from common import RESULTS, write_result
from manyways.clustering.competition import find_groups
from manyways.clustering.count import count_modes
from manyways.demonstrations import convert, summarise
from manyways.demonstrations.stored import on_disk
from manyways.search.factored import stride_of, trajectory_losses

STEPS, OBSERVATION, ACTION, MODES = 500, 8, 2, 4
IN_SHARD = 1000  # trajectories
ITERATIONS = 500
IN_ALL_STEPS = 10_000  # so many trajectories are also searched in all their steps


def make(folder: Path, trajectories: int) -> int:
    """Write a LeRobot 3 data set of random walks, with an answer for each mode; return its size in bytes."""
    rng = np.random.default_rng(0)
    answers = rng.normal(size=(MODES, OBSERVATION, ACTION)).astype(np.float32)
    for name in ("meta/episodes/chunk-000", "data/chunk-000"):
        (folder / name).mkdir(parents=True)
    for shard, first in enumerate(range(0, trajectories, IN_SHARD)):
        count = min(IN_SHARD, trajectories - first)
        walks = rng.standard_normal((count, STEPS, OBSERVATION), dtype=np.float32).cumsum(axis=1) * np.float32(0.1)
        actions = walks @ answers[np.arange(first, first + count) % MODES]
        actions += 0.1 * rng.standard_normal(actions.shape, dtype=np.float32)
        columns = {"observation.state": walks, "action": actions}
        table = {
            name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[2])
            for name, values in columns.items()
        }
        table["episode_index"] = pa.array(np.repeat(np.arange(first, first + count), STEPS))
        file = folder / f"data/chunk-000/file-{shard:03d}.parquet"
        pa.parquet.write_table(pa.table(table), file, row_group_size=50 * STEPS)
    episodes = {"episode_index": np.arange(trajectories), "length": np.full(trajectories, STEPS)}
    pa.parquet.write_table(pa.table(episodes), folder / "meta/episodes/chunk-000/file-000.parquet")
    features = {
        name: {"dtype": "float32", "shape": [size], "names": None}
        for name, size in (("observation.state", OBSERVATION), ("action", ACTION))
    }
    info = {"codebase_version": "v3.0", "total_episodes": trajectories, "features": features}
    (folder / "meta/info.json").write_text(json.dumps(info))
    return sum(file.stat().st_size for file in folder.rglob("*.parquet"))


class Peak(threading.Thread):
    """Samples what this process has in memory, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.allocated = self.mapped = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Sample."""
        while not self._over.wait(0.01):
            memory = psutil.Process().memory_info()
            self.allocated = max(self.allocated, memory.rss - memory.shared)
            self.mapped = max(self.mapped, memory.shared)

    def stop(self) -> None:
        """End it."""
        self._over.set()
        self.join()


def load(folder: Path, in_memory: bool) -> manyways.Demonstrations:
    found = manyways.Demonstrations.load(folder)
    if not in_memory:
        return found
    return manyways.Demonstrations(
        np.array(found.observations), np.array(found.actions), found.lengths, None, found.names, found.identities
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def loading(source: Path, cache: Path) -> dict[str, Any]:
    """Load a LeRobot data set twice; the second time it is in the cache, if it is large."""
    os.environ["MANYWAYS_CACHE"] = str(cache)
    first, found = timed(lambda: manyways.Demonstrations.load(source))
    again = timed(lambda: manyways.Demonstrations.load(source))[0]
    return {"seconds": first, "again_seconds": again, "on_disk": on_disk(found.actions)}


def converting(source: Path, folder: Path) -> dict[str, Any]:
    return {"seconds": timed(lambda: convert(source, folder))[0]}


def inspecting(folder: Path, in_memory: bool) -> dict[str, Any]:
    seconds, found = timed(lambda: repr(summarise(load(folder, in_memory))))
    return {"seconds": seconds, "digest": hashlib.sha256(found.encode()).hexdigest()[:16]}


def counting(folder: Path, in_memory: bool) -> dict[str, Any]:
    seconds, found = timed(lambda: count_modes(load(folder, in_memory)))
    return {"seconds": seconds, "modes": found.best}


def grouping(folder: Path, in_memory: bool) -> dict[str, Any]:
    seconds, groups = timed(lambda: find_groups(load(folder, in_memory), MODES, 0))
    return {"seconds": seconds, "digest": digest(groups.tensors())}


def learning(folder: Path, in_memory: bool) -> dict[str, Any]:
    """Learn without groups, which are measured by themselves, and by the settings for trained agents."""
    seconds, demonstrations = timed(lambda: load(folder, in_memory))
    found: dict[str, Any] = {"load_seconds": seconds}
    agent = {"network": "paper", "history": 1, "horizon": 1, "execute": 1, "details": 1, "hidden": 128}
    settings = manyways.SOGBC(prior=manyways.Categorical(MODES), iterations=ITERATIONS, init="random", **agent)
    found["start_seconds"], training = timed(lambda: settings.start(demonstrations, None))
    seconds, steps = timed(lambda: sum(step(training) for _ in range(ITERATIONS)))
    found["training_steps_per_second"] = steps / seconds
    # The codes of all trajectories are searched, and the noise is measured on them.
    seconds, policy = timed(training.policy)
    found["search_steps_per_second"] = demonstrations.steps / seconds
    arrays = {name: tensor.numpy() for name, tensor in policy.network.state_dict().items()}
    return found | {"counts": list(policy.counts), "digest": digest(arrays)}


def searching(folder: Path, in_memory: bool) -> dict[str, Any]:
    """Learn a little by the settings for people, and search the codes of all trajectories in some of their steps."""
    demonstrations = load(folder, in_memory)
    settings = manyways.SOGBC(prior=manyways.Categorical(MODES), iterations=ITERATIONS // 5, init="random")
    training = settings.start(demonstrations, None)
    for _ in range(ITERATIONS // 5):
        training.step()
    seconds, policy = timed(training.policy)
    found: dict[str, Any] = {
        "seconds": seconds,
        "hidden": policy.network.code.out_features,
        "every": stride_of(demonstrations),
    }
    if len(demonstrations) <= IN_ALL_STEPS:
        codes = policy.losses(demonstrations).argmin(axis=1)
        every = torch.from_numpy(policy.prior.enumerate())
        found["all_steps_seconds"], losses = timed(lambda: trajectory_losses(policy.network, demonstrations, every))
        found["same_codes_in_all_steps"] = float(np.mean(codes == losses.argmin(axis=1)))
    return found


def digest(arrays: dict[str, Any]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values())).hexdigest()[:16]


def step(training: Any) -> int:
    count: int = training.steps_per_iteration
    training.step()
    return count


def measured(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    torch.set_num_threads(1)
    before = psutil.Process().memory_info()
    peak = Peak()
    peak.start()
    found = work(*arguments)
    peak.stop()
    allocated = peak.allocated - before.rss + before.shared
    return found | {"peak_megabytes": allocated / 1e6, "mapped_megabytes": peak.mapped / 1e6}


def in_process(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Return what the work finds, and its peak memory above what the process began with."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measured, work, *arguments).result()


WORKS = {
    "loading": loading,
    "inspecting": inspecting,
    "counting": counting,
    "learning": learning,
    "grouping": grouping,
    "searching": searching,
}


def main(
    trajectories: tuple[int, ...] = (1_000, 10_000, 100_000),
    in_memory: tuple[int, ...] = (1_000, 10_000),
    works: tuple[str, ...] = tuple(WORKS),
    out: Path = RESULTS / "large_sets.json",
    folder: Path | None = None,
) -> None:
    """Measure every size.

    Args:
        trajectories: sizes, 500 steps each.
        in_memory: the sizes that are also measured in memory, which must give the same.
        works: what to measure.
        out: the file to write.
        folder: where the sets are made for the time of the measurement; about 6 GB for 100,000 trajectories.
    """
    rows: list[dict[str, Any]] = []
    for count in trajectories:
        with TemporaryDirectory(dir=folder) as name:
            source, mapped = Path(name, "lerobot"), Path(name, "npy")
            row: dict[str, Any] = {"trajectories": count, "steps": count * STEPS, "lerobot_bytes": make(source, count)}
            rows.append(row)
            if "loading" in works:
                row["loading"] = in_process(loading, source, Path(name, "cache"))
                shutil.rmtree(Path(name, "cache"), ignore_errors=True)
                write_result(out, {"sizes": rows}, seeds=[0])
            others = [work for work in works if work != "loading"]
            if others:
                row["convert"] = in_process(converting, source, mapped)
                row["npy_bytes"] = sum(file.stat().st_size for file in mapped.rglob("*.npy"))
            for work in others:
                places = {"disk": in_process(WORKS[work], mapped, False)}
                if count in in_memory:
                    places["memory"] = in_process(WORKS[work], mapped, True)
                row[work] = places
                print(f"{count:,} {work}: {json.dumps(places)}", flush=True)
                write_result(out, {"sizes": rows}, seeds=[0], budget={"iterations": ITERATIONS})


if __name__ == "__main__":
    tyro.cli(main)
