"""A policy in NumPy does what it does in PyTorch."""

import json
import subprocess
import sys

import numpy as np
import pytest

import manyways
from manyways import InputError
from manyways.runtime import load_policy

CODES = {"two": manyways.Categorical(2), "range": manyways.Gaussian(2)}


def pairs(kind, count=24):
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        x = rng.normal(size=(30, 3)).astype(np.float32)
        image = rng.integers(0, 256, (30, 12, 10, 3), dtype=np.uint8)
        sign = 1 if number % 2 else -1
        action = np.stack([sign + x[:, 0], np.where(x[:, 1] > 0, 1.0, -1.0)], axis=1).astype(np.float32)
        observation = {
            "flat": x,
            "far": x.astype(np.float64) + 1e7,
            "entries": {"a": x, "b": x[:, :2] * 3},
            "image": image,
            "gray": image[..., 0],
            "image and numbers": {"camera": image, "arm": x},
        }[kind if kind in ("far", "entries", "image", "gray", "image and numbers") else "flat"]
        if kind == "choices":
            action = rng.integers(0, 4, 30)
        if kind == "parts":
            action = rng.integers(0, 3, (30, 2))
        made.append((observation, action))
    return made


CASES = [
    ("flat", "two", {}),
    ("far", "two", {}),
    ("flat", "range", {}),
    ("flat", "two", {"history": 3, "horizon": 4, "execute": 2}),
    ("flat", "two", {"history": 2, "horizon": 4, "details": 3, "linear": True, "network": "residual"}),
    ("entries", "two", {"history": 2}),
    ("image", "two", {}),
    ("gray", "two", {"history": 2}),
    ("image and numbers", "range", {}),
    ("choices", "two", {}),
    ("choices", "two", {"horizon": 3}),
    ("parts", "two", {"horizon": 2}),
]


@pytest.mark.parametrize(("kind", "codes", "changes"), CASES)
def test_it_acts_as_the_policy_does(tmp_path, kind, codes, changes):
    data = pairs(kind)
    demonstrations = manyways.Demonstrations.from_arrays(data, choices=(3, 3) if kind == "parts" else None)
    changes = {"history": 1, "horizon": 1, "optimizer": "muon"} | changes
    settings = manyways.SOGBC(prior=CODES[codes], iterations=15, hidden=16, **changes)
    policy = settings.fit(demonstrations)
    policy.save(tmp_path)
    ours = load_policy(tmp_path)
    assert ours.modes == policy.modes
    states = [None, None]
    for deterministic in (True, False):
        for step in range(5):
            index = slice(step, step + 25)  # more than NumPy computes in `Policy`
            seen = data[step][0]
            seen = {n: a[index] for n, a in seen.items()} if isinstance(seen, dict) else seen[index]
            answers = [
                each.predict(seen, states[place], [True] * 25 if step == 0 else None, deterministic)
                for place, each in enumerate((policy, ours))
            ]
            for expected, found in zip(*answers, strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-3)
            states = [answer[1] for answer in answers]
    single = {n: a[0] for n, a in data[0][0].items()} if isinstance(data[0][0], dict) else data[0][0][0]
    assert ours.novelty(single) == pytest.approx(policy.novelty(single), abs=0.01)
    assert ours.predict(single, deterministic=True)[0].shape == policy.predict(single, deterministic=True)[0].shape


def test_it_needs_no_pytorch_and_knows_names_gates_and_guards(policy, tmp_path):
    policy.save(tmp_path)
    text = json.loads((tmp_path / "policy.json").read_text())
    (tmp_path / "policy.json").write_text(json.dumps(text | {"names": {"1": "over"}}))
    program = (
        "import sys\nsys.modules['torch'] = None\nimport numpy as np\nfrom manyways.runtime import load_policy\n"
        f"policy = load_policy({str(tmp_path)!r})\n"
        "action, _ = policy.predict(np.ones(3, np.float32), policy.code('over'), deterministic=True)\n"
        "policy.predict(np.ones((40, 3)))\nassert policy.novelty(np.full(3, 90.0)) == 1\npolicy.guard('refuse')\n"
        "print([name for name in ('sklearn', 'scipy', 'matplotlib') if name in sys.modules], action.tolist())"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("[] ")
    expected, _ = policy.predict(np.ones(3, np.float32), policy.code(1), deterministic=True)
    np.testing.assert_allclose(json.loads(result.stdout[3:]), expected, rtol=1e-5)


def test_a_fixed_code_is_kept(policy, tmp_path):
    policy.with_code(1).save(tmp_path)
    np.testing.assert_array_equal(load_policy(tmp_path).predict(np.zeros(3))[1], policy.code(1))


def test_networks_that_need_pytorch_are_refused(demonstrations, tmp_path):
    manyways.MDN(iterations=2, hidden=8).fit(demonstrations).save(tmp_path / "mdn")
    with pytest.raises(InputError, match="a network of the kind mdn, which needs PyTorch; use"):
        load_policy(tmp_path / "mdn")


def test_damaged_and_newer_files_are_refused(policy, tmp_path):
    policy.save(tmp_path)
    path = tmp_path / "policy.json"
    text = json.loads(path.read_text())
    for broken in (
        text | {"network": {"hidden": 3}},
        text | {"observation_space": {"kind": "box", "shape": [4], "dtype": "float32"}},
        text | {"prior": {"kind": "categorical", "size": 5}},
        {key: value for key, value in text.items() if key != "trajectories"},
        text | {"trajectories": [1]},
        text | {"names": []},
        *(text | {"network": text["network"] | {name: 10**9}} for name in ("chunk", "window", "blocks")),
    ):
        path.write_text(json.dumps(broken))
        for load in (load_policy, manyways.load_policy):
            with pytest.raises(InputError, match=r"policy\.json is damaged") as raised:
                load(tmp_path)
            assert "state_dict" not in str(raised.value)
    path.write_text(json.dumps(text | {"format": 99}))
    for load in (load_policy, manyways.load_policy):
        with pytest.raises(InputError, match="has format 99; this version reads 2: update manyways"):
            load(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        load_policy(tmp_path / "nowhere")
