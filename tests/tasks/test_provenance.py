import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from manyways.tasks import get_task, provenance, task_names, velocities
from manyways.tasks.collect import cached_demonstrations
from manyways.tasks.expert import Expert
from manyways.tasks.provenance import fingerprint

ANT = get_task("ant-dir-6")


def test_every_process_finds_the_same_place():
    code = "from manyways.tasks import get_task; from manyways.tasks.collect import cached_demonstrations as c;"
    code += "print(*[c(get_task(name)) for name in ('circles', 'ant-dir-6')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert result.split() == [str(cached_demonstrations(get_task(name))) for name in ("circles", "ant-dir-6")]
    assert len({cached_demonstrations(get_task(name)) for name in task_names()}) == len(task_names())


@pytest.mark.parametrize(
    "change",
    [
        {"episode_steps": 100},
        {"demonstrations": 7},
        {"modes": velocities((1.0,) * 6)},
        {"base": replace(ANT.base, settings={"healthy_z_range": (0.3, np.inf)})},
        {"rewards": get_task("humanoid-dir-6").rewards},
        {"frame": get_task("humanoid-dir-6").frame},
        {"noise": 0.2},
        {"termination_fails": False},
    ],
)
def test_everything_that_demonstrations_depend_on_changes_their_path(change):
    assert cached_demonstrations(replace(ANT, **change)) != cached_demonstrations(ANT)


def test_what_shows_in_no_demonstration_does_not():
    assert cached_demonstrations(replace(ANT, picture=get_task("circles").picture)) == cached_demonstrations(ANT)


def test_another_version_of_the_simulator_changes_the_place(monkeypatch):
    before = fingerprint(ANT, 0.1)
    monkeypatch.setattr(provenance, "version", lambda package: "99")
    assert fingerprint(ANT, 0.1) != before


def test_other_weights_change_the_place():
    expert = ANT.trained_expert
    layers = expert.layers | {"bias.0": expert.layers["bias.0"] + 1e-3}
    assert fingerprint(ANT.with_expert(Expert(layers, {})), 0.1) != fingerprint(ANT, 0.1)
    assert fingerprint(ANT.with_expert(Expert(expert.layers, {"another": "card"})), 0.1) == fingerprint(ANT, 0.1)


def test_an_edited_script_changes_the_place_and_an_unchanged_one_does_not(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    result = []
    for sign in ("-", "-", "+"):
        (tmp_path / "own_helper.py").write_text(f"def turn(modes):\n    return {sign}modes\n")
        (tmp_path / "own_expert.py").write_text(
            "from own_helper import turn\n\ndef act(observations, modes):\n    return turn(modes)[:, None]\n"
        )
        for name in ("own_helper", "own_expert"):
            sys.modules.pop(name, None)
        import linecache

        linecache.checkcache()
        import own_expert

        result.append(fingerprint(replace(get_task("circles"), scripted_expert=own_expert.act), 0.0))
    assert result[0] == result[1] != result[2]


class Controller:
    def __init__(self, gain, network=None):
        self.gain, self.network = gain, network

    def __call__(self, observations, modes):
        return self.gain * observations[:, -2:]

    def act(self, observations, modes):
        return self(observations, modes)


def expert_of(gain):
    return lambda observations, modes: gain * observations[:, -2:]


def network(bias):
    torch.manual_seed(0)
    made = torch.nn.Linear(2, 2)
    torch.nn.init.constant_(made.bias, bias)
    return made


@pytest.mark.parametrize(
    ("first", "same", "other"),
    [
        (expert_of(1.0), expert_of(1.0), expert_of(2.0)),
        (Controller(1.0), Controller(1.0), Controller(2.0)),
        (Controller(1.0).act, Controller(1.0).act, Controller(2.0).act),
        (partial(expert_of, 1.0), partial(expert_of, 1.0), partial(expert_of, gain=2.0)),
        (expert_of(np.ones(2)), expert_of(np.ones(2)), expert_of(np.array([1.0, 1.0 + 1e-9]))),
        (Controller(1, network(0.0)), Controller(1, network(0.0)), Controller(1, network(1.0))),
    ],
)
def test_an_experts_arrays_count_wherever_they_are(first, same, other):
    one, again, another = (
        fingerprint(replace(get_task("circles"), scripted_expert=expert), 0.0) for expert in (first, same, other)
    )
    assert one == again != another


GAIN = np.ones(2)


def by_a_global(observations, modes):
    return GAIN * observations[:, -2:]


def test_a_global_that_the_expert_reads_counts(monkeypatch):
    task = replace(get_task("circles"), scripted_expert=by_a_global)
    before = fingerprint(task, 0.0)
    monkeypatch.setitem(by_a_global.__globals__, "GAIN", 2 * GAIN)
    assert fingerprint(task, 0.0) != before
