"""The exported policy, run by ONNX Runtime, acts as the policy does."""

import builtins
import json

import numpy as np
import pytest
from torch import nn

import manyways
from manyways import InputError

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def session(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def fitted(observation, action=None, codes=None, **settings):
    """Return a policy that has learned a little, and some of its observations."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(24):
        seen = observation(rng)
        steps = len(next(iter(seen.values())) if isinstance(seen, dict) else seen)
        switch = np.where(rng.random(steps) > 0.5, 1.0, -1.0)
        done = np.stack([rng.normal(size=steps) + (number % 2), switch], axis=1).astype(np.float32)
        pairs.append((seen, done if action is None else action(rng, steps)))
    demonstrations = manyways.Demonstrations.from_arrays(pairs)
    settings = {"iterations": 10, "hidden": 16, "history": 1, "horizon": 1, "optimizer": "muon"} | settings
    return manyways.SOGBC(prior=codes or manyways.Categorical(3), **settings).fit(demonstrations), pairs[0][0]


def flat(rng):
    return rng.normal(size=(30, 4)).astype(np.float32)


def far(rng):
    return rng.normal(size=(30, 4)) + 1e7


def entries(rng):
    return {"camera": rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8), "arm": flat(rng)}


CASES = {
    "flat": (flat, {}),
    "far from the origin": (far, {}),
    "residual with plans and details": (
        flat,
        {"history": 2, "horizon": 4, "details": 3, "linear": True, "network": "residual"},
    ),
    "a range of codes": (flat, {"codes": manyways.Gaussian(2)}),
    "images in a dictionary": (entries, {"history": 2}),
    "an encoder of one's own": (flat, {"encoder": nn.Sequential(nn.Linear(4, 6), nn.Tanh())}),
    "choices": (flat, {"action": lambda rng, steps: rng.integers(0, 4, steps)}),
}


@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_computes_what_predict_returns(tmp_path, name):
    observation, settings = CASES[name]
    policy, seen = fitted(observation, **settings)
    policy.export(tmp_path / "policy.onnx")
    window, chunk = policy.network.window, policy.network.chunk
    codes = policy.prior.sample(20, np.random.default_rng(1))
    rows = np.arange(20)[:, None] + np.arange(window)

    def chosen(values):
        far_off = values[rows] if name == "far from the origin" or values.dtype == np.uint8 else 8 * values[rows]
        return far_off.astype(values.dtype)  # so that some are clipped

    windows = {key: chosen(values) for key, values in seen.items()} if isinstance(seen, dict) else chosen(seen)
    named = windows if isinstance(windows, dict) else {"": windows}
    inputs = {f"observation.{key}".rstrip("."): values for key, values in named.items()}
    inputs = {key: values if window > 1 else values[:, 0] for key, values in inputs.items()}
    found = session(tmp_path / "policy.onnx").run(None, inputs | {"code": codes})[0]
    expected = policy._draw(windows, codes, None)  # what `predict` takes its actions from, (20, executed, ...)
    assert found.shape[:2] == (20, chunk) if chunk > 1 else len(found) == 20
    found = found[:, : policy.network.executed] if chunk > 1 else found[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_the_file_says_what_it_is(policy, tmp_path, command):
    policy.save(tmp_path / "saved")
    code, printed, error = command("export", tmp_path / "saved", tmp_path / "policy.onnx")
    assert code == 0, error
    assert "policy.onnx" in printed
    about = json.loads(session(tmp_path / "policy.onnx").get_modelmeta().custom_metadata_map["manyways"])
    assert about["codes"] == {"kind": "categorical", "size": 2}
    assert (about["window"], about["chunk"], about["executed"]) == (1, 1, 1)
    expected, _ = policy.predict(np.ones(3), policy.code(1), deterministic=True)
    one = {"observation": np.ones((1, 3), np.float32), "code": policy.code(1)[None]}
    np.testing.assert_allclose(session(tmp_path / "policy.onnx").run(None, one)[0][0], expected, rtol=1e-5)


class Choosy(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 0 else x


def test_what_cannot_be_exported_is_one_sentence(demonstrations, policy, tmp_path, monkeypatch, command):
    mdn = manyways.MDN(iterations=2, hidden=8).fit(demonstrations)
    with pytest.raises(InputError, match="a policy of the kind mdn draws what it does"):
        mdn.export(tmp_path / "mdn.onnx")
    settings = manyways.SOGBC(prior=manyways.Categorical(2), iterations=2, hidden=8, encoder=Choosy())
    with pytest.raises(InputError, match="the encoder Choosy cannot be exported") as error:
        settings.fit(demonstrations).export(tmp_path / "choosy.onnx")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"does not end in \.onnx"):
        policy.export(tmp_path / "policy")
    code, _, error = command("export", tmp_path / "nowhere", tmp_path / "policy.onnx")
    assert code == 2
    assert error.count("\n") == 1
    real = builtins.__import__

    def without(name, *arguments, **named):
        if name.startswith("onnxscript"):
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"manyways\[onnx\]"):
        policy.export(tmp_path / "policy.onnx")
    assert list(tmp_path.iterdir()) == []
