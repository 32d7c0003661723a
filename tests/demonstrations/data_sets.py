"""The same three episodes in every format: made by its own library, or to its specification."""

import json

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import zarr

from manyways import Demonstrations, InputError

LENGTHS = (5, 3, 4)
RNG = np.random.default_rng(0)
ARM = [RNG.normal(size=(n, 3)).astype(np.float32) for n in LENGTHS]
GRIP = [RNG.normal(size=(n, 1)).astype(np.float32) for n in LENGTHS]
ACTIONS = [RNG.normal(size=(n, 2)).astype(np.float32) for n in LENGTHS]
PICTURES = [RNG.integers(256, size=(n, 6, 6, 3), dtype=np.uint8) for n in LENGTHS]
BOTH = [np.concatenate(pair, axis=1) for pair in zip(ARM, GRIP, strict=True)]
ENDS = np.cumsum(LENGTHS)


def joined(parts):
    return np.concatenate(parts)


def robomimic(folder, extra=0):
    """`extra` observations stand after the last action of each demonstration."""
    with h5py.File(folder / "demo.hdf5", "w") as file:
        for index, name in enumerate(("demo_2", "demo_0", "demo_10")):  # to be sorted by number
            place = (1, 0, 2)[index]
            demo = file.create_group(f"data/{name}")
            demo.attrs.update(
                {"num_samples": LENGTHS[place], "operator": ("ann", "bob", "ann")[place], "model_file": "x"}
            )
            demo["actions"] = ACTIONS[place]
            for entry, arrays in (("arm", ARM), ("grip", GRIP), ("image", PICTURES)):
                demo[f"obs/{entry}"] = np.concatenate([arrays[place], arrays[place][:extra]])
            demo["rewards"] = np.zeros(LENGTHS[place])
        file["mask/better"] = np.array([b"demo_10", b"demo_0"])
    return folder / "demo.hdf5"


def lerobot(folder, version, files=None):
    """To the specification of LeRobot's versions 2.1 (a file an episode) and 3.0 (several in one)."""
    features = {
        "observation.state": {"dtype": "float32", "shape": [3], "names": {"motors": ["lift", "turn", "bend"]}},
        "observation.grip": {"dtype": "float32", "shape": [1], "names": ["grip"]},
        "observation.images.top": {"dtype": "video", "shape": [6, 6, 3], "names": ["height", "width", "channel"]},
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        "episode_index": {"dtype": "int64", "shape": [1], "names": None},
    }
    tables = [
        pa.table(
            {
                "observation.state": pa.FixedSizeListArray.from_arrays(pa.array(ARM[index].ravel()), 3),
                "observation.grip": pa.array(GRIP[index].ravel()),
                "action": pa.array(ACTIONS[index].tolist(), pa.list_(pa.float32())),
                "timestamp": np.arange(n, dtype=np.float32),
                "episode_index": np.full(n, index),
            }
        )
        for index, n in enumerate(LENGTHS)
    ]
    (folder / "meta").mkdir(parents=True)
    (folder / "data/chunk-000").mkdir(parents=True)
    data_path = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    episodes = [
        {"episode_index": index, "tasks": [("lift", "turn", "lift")[index]], "length": n}
        for index, n in enumerate(LENGTHS)
    ]
    if version == "v3.0":
        for number, part in enumerate((tables[:2], tables[2:])):
            pa.parquet.write_table(pa.concat_tables(part), folder / f"data/chunk-000/file-{number:03d}.parquet")
        (folder / "meta/episodes/chunk-000").mkdir(parents=True)
        pa.parquet.write_table(pa.Table.from_pylist(episodes), folder / "meta/episodes/chunk-000/file-000.parquet")
    else:
        data_path = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        for number, table in enumerate(tables):
            pa.parquet.write_table(table, folder / f"data/chunk-000/episode_{number:06d}.parquet")
        (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in episodes))
    info = {"codebase_version": version, "total_episodes": 3, "data_path": data_path, "features": features}
    (folder / "meta/info.json").write_text(json.dumps(info | {"splits": {"train": "0:2"}}))
    return folder


def replay_buffer(folder, name="buffer.zarr", version=2, **settings):
    store = zarr.storage.ZipStore(folder / name, mode="w") if name.endswith(".zip") else folder / name
    root = zarr.open_group(store, mode="w", zarr_format=version)
    data, meta = root.create_group("data"), root.create_group("meta")
    for entry, arrays in (("arm", ARM), ("grip", GRIP), ("image", PICTURES), ("action", ACTIONS)):
        data.create_array(entry, data=joined(arrays), chunks=(4, *arrays[0].shape[1:]), **settings)
    meta.create_array("episode_ends", data=ENDS)
    if name.endswith(".zip"):
        store.close()
    return folder / name


def flat_arrays(ending):
    last = np.zeros(sum(LENGTHS), bool)
    last[ENDS - 1] = True
    first = np.roll(last, 1)
    half = last & (np.arange(len(last)) < 6)
    endings = {
        "terminals": {"terminals": half, "timeouts": last & ~half, "rewards": np.zeros(len(last))},
        "dones": {"dones": last.astype(np.float32)},
        "episode_starts": {"episode_starts": first},
        "episode_ends": {"episode_ends": ENDS},
    }
    return {"observations": joined(BOTH), "actions": joined(ACTIONS)} | endings[ending]


def imitation():
    """As `imitation` saves trajectories: an observation more in each, and pickled `infos`, which are not read."""
    observations = [np.concatenate([each, each[-1:]]) for each in BOTH]
    arrays = {"obs": joined(observations), "acts": joined(ACTIONS), "indices": ENDS[:-1]}
    return arrays | {"terminal": np.ones(3, bool), "infos": np.array([{}] * sum(LENGTHS), dtype=object)}


def frame():
    columns = {f"arm.{i}": joined(ARM)[:, i] for i in range(3)} | {"grip": joined(GRIP)[:, 0]}
    columns |= {f"action.{i}": joined(ACTIONS)[:, i] for i in range(2)}
    whose = np.repeat(["first", "second", "third"], LENGTHS)
    who = np.repeat(["ann", "bob", "ann"], LENGTHS)
    return pd.DataFrame(
        {"episode": whose, "step": np.concatenate([*map(np.arange, LENGTHS)]), **columns, "operator": who}
    )


def episodes(folder, suffix, names=("trial_2", "trial_3", "trial_10")):
    folder.mkdir()
    for index, (_, part) in enumerate(frame().groupby("episode")):
        path = folder / f"{names[index]}{suffix}"
        part = part.drop(columns=["episode", "operator"])
        if suffix == ".csv":
            part.to_csv(path, index=False)
        elif suffix == ".parquet":
            part.to_parquet(path)
        else:
            last = np.concatenate([BOTH[index], BOTH[index][-1:]])
            np.savez(path, observations=last, actions=ACTIONS[index])
    return folder


def written(path, write):
    write(path)
    return path


MAKERS = {
    "robomimic": robomimic,
    "robomimic with last observations": lambda folder: robomimic(folder, extra=1),
    "LeRobot 2.1": lambda folder: lerobot(folder / "lab", "v2.1"),
    "LeRobot 3": lambda folder: lerobot(folder / "lab", "v3.0"),
    "zarr": replay_buffer,
    "zarr.zip": lambda folder: replay_buffer(folder, "buffer.zarr.zip"),
    "zarr 3": lambda folder: replay_buffer(folder, version=3),
    "zarr 3.zip": lambda folder: replay_buffer(folder, "buffer.zarr.zip", version=3),
    "csv": lambda folder: written(folder / "all.csv", lambda path: frame().to_csv(path, index=False)),
    "parquet": lambda folder: written(folder / "all.parquet", lambda path: frame().to_parquet(path)),
    "folder of csv": lambda folder: episodes(folder / "trials", ".csv"),
    "folder of parquet": lambda folder: episodes(folder / "trials", ".parquet"),
    "folder of npz": lambda folder: episodes(folder / "trials", ".npz"),
    "imitation": lambda folder: written(folder / "a.npz", lambda path: np.savez(path, **imitation())),
}
for _ending in ("terminals", "dones", "episode_starts", "episode_ends"):
    MAKERS[f"npz with {_ending}"] = lambda folder, ending=_ending: written(
        folder / "a.npz", lambda path: np.savez(path, **flat_arrays(ending))
    )


def d4rl(folder):
    with h5py.File(folder / "d4rl.hdf5", "w") as file:
        for name, array in flat_arrays("terminals").items():
            file[name] = array
        file["metadata/algorithm"] = "SAC"
        file["infos/qpos"] = joined(BOTH)
    return folder / "d4rl.hdf5"


MAKERS["d4rl"] = d4rl


def npy(folder):
    """An NPZ file unpacked."""
    arrays = {"observations": joined(BOTH), "actions": joined(ACTIONS), "lengths": np.array(LENGTHS)}
    (folder / "arrays").mkdir()
    for name, array in arrays.items():
        np.save(folder / "arrays" / f"{name}.npy", array)
    return folder / "arrays"


MAKERS["npy"] = npy


def documented(folder):
    """Make small files of the names and columns that docs/your-data.md shows."""
    with h5py.File(folder / "low_dim_v15.hdf5", "w") as file:
        for index, actions in enumerate(ACTIONS):
            file[f"data/demo_{index}/actions"] = actions
            for entry, width in (("robot0_eef_pos", 3), ("robot0_gripper_qpos", 2), ("object", 10)):
                file[f"data/demo_{index}/obs/{entry}"] = RNG.normal(size=(len(actions), width))
        file["mask/better"] = np.array([b"demo_0", b"demo_1"])
    pusht = lerobot(folder / "pusht", "v3.0")
    info = json.loads((pusht / "meta/info.json").read_text())
    motors = {"dtype": "float32", "shape": [3], "names": {"motors": ["motor_0", "motor_1", "motor_2"]}}
    info["features"]["observation.state"] = motors
    (pusht / "meta/info.json").write_text(json.dumps(info))
    frame().to_parquet(folder / "arm.parquet")
    episodes(folder / "trials", ".csv", ("trial_1", "trial_2", "trial_3"))
    table = pd.DataFrame(RNG.normal(size=(12, 4)), columns=["x", "y", "vx", "vy"])
    table.assign(take=np.repeat([1, 2, 3], LENGTHS)).to_csv(folder / "arm.csv", index=False)


def refused(path, message=""):
    """Assert that loading is refused in one line that matches."""
    with pytest.raises(InputError, match=message) as caught:
        Demonstrations.load(path)
    assert "\n" not in str(caught.value)
