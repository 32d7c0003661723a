import json

import gymnasium as gym
import numpy as np
import pytest
from worlds import Line

import manyways
from manyways import InputError
from manyways.evaluation.environments import EnvironmentEvaluation, Estimate, evaluate_in
from manyways.tasks.any_environment import Success, make_environment, require_known


def test_each_code_and_nobody_has_its_return_success_and_length(policy):
    named = policy.with_code(0)
    named.names, named.chosen_code = {1: "forward"}, None
    found = evaluate_in(named, Line, episodes=20)
    assert [line.label for line in found.codes] == ["0", "1 forward", "nobody chooses"]
    assert [line.episodes for line in found.codes] == [10, 10, 20]
    zero = np.zeros(3, np.float32)
    rewards = [policy.predict(zero, policy.code(code), deterministic=True)[0][0] for code in (0, 1)]
    for code, reward in enumerate(rewards):
        assert found.codes[code].return_.mean == pytest.approx(10 * reward, rel=1e-5)
        assert found.codes[code].success.mean == (reward > 0)
        assert found.codes[code].length == Estimate(10, 10, 10)
    assert sorted(np.sign(rewards)) == [-1, 1]
    assert 0.1 < found.undrawn.success.mean < 0.9  # both modes occur
    assert found.success == "is_success"
    assert found.cut == 0
    assert EnvironmentEvaluation.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_intervals_are_wilsons_and_the_bootstraps():
    # Wilson 1927, 8 of 10: 0.490 to 0.943; none of 10: 0 to 0.278.
    found = Estimate.of_share(np.arange(10) < 8)
    assert (round(found.low, 3), round(found.high, 3)) == (0.490, 0.943)
    none = Estimate.of_share(np.zeros(10, bool))
    assert none.low == 0
    assert none.high == pytest.approx(0.2775, abs=1e-3)
    values = np.random.default_rng(0).normal(5, 2, 400)
    found = Estimate.of(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_success_is_what_was_asked_for(policy):
    codes = [policy.predict(np.zeros(3, np.float32), policy.code(c), deterministic=True)[0][0] for c in (0, 1)]
    up = int(np.argmax(codes))

    def rates(success):
        return [line.success.mean for line in evaluate_in(policy, Line(), episodes=2, success=success).codes[:2]]

    assert rates("return>=5")[up] == 1
    assert rates("return>=5")[1 - up] == 0
    assert rates("return>=-1e3") == [1, 1]
    assert rates("coverage>=0.4") == [1, 1]
    assert rates("coverage>=0.9") == [0, 0]
    with pytest.raises(InputError, match=r"info of .*Line has no 'won'; it has coverage, is_success"):
        rates("won")
    for text in ("return", "a b", "return>=", "x>=1..2", ""):
        with pytest.raises(InputError, match="give a key of info"):
            Success.parse(text)


def test_a_text_in_info_is_no_success(policy):
    class Side(Line):
        def step(self, action):
            *rest, info = super().step(action)
            return *rest, info | {"side": "left", "unknown": None}

    with pytest.raises(InputError, match="info has 'side' as 'left', which is neither true or false nor a number"):
        evaluate_in(policy, Side(), episodes=2, success="side")
    assert evaluate_in(policy, Side(), episodes=2, success="unknown").undrawn.success.mean == 0


def test_episodes_without_an_end_are_cut_and_counted(policy):
    found = evaluate_in(policy, Line(steps=0), episodes=2, max_steps=7)
    assert found.cut == 4
    assert found.undrawn.length.mean == 7


def test_dictionary_observations_and_discrete_actions():
    rng = np.random.default_rng(0)
    pairs = [
        ({"state": rng.normal(size=(20, 3)).astype(np.float32)}, np.full(20, trajectory % 2))
        for trajectory in range(10)
    ]
    policy = manyways.SOGBC(prior=manyways.Categorical(2), iterations=60, hidden=16).fit(
        manyways.Demonstrations.from_arrays(pairs)
    )
    found = evaluate_in(policy, lambda: Line(kind="dictionary", choices=3), episodes=4)
    assert sorted(line.return_.mean for line in found.codes[:2]) == [0, 10]


def test_a_gymnasium_id_and_a_policy_without_codes(demonstrations):
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(size=(30, 4)), rng.integers(2, size=30)) for _ in range(5)]
    policy = manyways.BC(iterations=10, hidden=8).fit(manyways.Demonstrations.from_arrays(pairs))
    found = evaluate_in(policy, "CartPole-v1", episodes=3, success="return>=500")
    assert [line.episodes for line in found.codes] == [3]
    assert found.max_steps == 500
    assert 5 < found.undrawn.length.mean <= 500
    mdn = manyways.MDN(iterations=5, hidden=8).fit(demonstrations)
    found = evaluate_in(mdn, Line, episodes=3)
    assert [line.label for line in found.codes] == ["nobody chooses"]


def test_windows_plans_and_continuous_codes(demonstrations):
    settings = manyways.SOGBC(prior=manyways.Gaussian(1), iterations=100, hidden=16, history=2, horizon=4)
    found = evaluate_in(settings.fit(demonstrations), Line, episodes=6)
    assert [line.code for line in found.codes] == ["10-percent", "50-percent", "90-percent", None]
    assert abs(found.codes[0].return_.mean - found.codes[2].return_.mean) > 5


@pytest.mark.parametrize(
    ("environment", "arguments", "message"),
    [
        ("nowhere/Nothing-v0", {}, "the environment nowhere/Nothing-v0 cannot be made"),
        ("worlds:Lin", {}, "worlds has no Lin"),
        ("nomodule:Line", {}, "No module named 'nomodule'"),
        ("worlds:Line", {"env_kwargs": {"speed": 1}}, "unexpected keyword argument 'speed'"),
        ("worlds:not_an_environment", {}, "made a int, not a gymnasium.Env"),
        ("worlds:Line", {"env_kwargs": {"size": 4}}, r"observes numbers of shape \(4,\), but the policy numbers of"),
        ("worlds:Line", {"env_kwargs": {"kind": "dictionary"}}, "observes a dictionary of state"),
        ("worlds:Line", {"env_kwargs": {"choices": 3}}, "an action of worlds:Line is one of 3 choices, but the policy"),
        ("worlds:Line", {"env_kwargs": {"broken": True}}, r"failed \(ValueError: the motor is hot\)"),
        ("worlds:Line", {"episodes": 1}, "1 episodes cannot show 2 codes"),
        ("worlds:Line", {"max_steps": 0}, "max_steps is 0"),
    ],
)
def test_what_does_not_fit_is_one_sentence(policy, environment, arguments, message):
    with pytest.raises(InputError, match=message) as error:
        evaluate_in(policy, environment, **({"episodes": 2} | arguments))
    assert "\n" not in str(error.value)


def test_a_callers_environment_stays_open(policy):
    environment = Line()
    closed = []
    environment.close = lambda: closed.append(True)
    evaluate_in(policy, environment, episodes=2)
    assert not closed
    assert isinstance(environment, gym.Env)


def test_a_factory_with_arguments_of_its_own_is_known(tmp_path, monkeypatch):
    (tmp_path / "own_worlds.py").write_text(
        "from functools import partial\nfrom worlds import Line\nmake = partial(Line)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    require_known("own_worlds:make")
    assert isinstance(make_environment("own_worlds:make", {}), Line)
    with pytest.raises(InputError, match="the environment own_worlds:nothing cannot be made"):
        require_known("own_worlds:nothing")
