import numpy as np
import pytest

from manyways.demonstrations import Demonstrations
from manyways.evaluation import PolicyEvaluator
from manyways.latents import Categorical
from manyways.policies.policy import Policy
from manyways.tasks import get_task


def test_a_policy_is_worth_its_return_under_the_matched_modes(circles_folder):
    task = get_task("circles")
    evaluator = PolicyEvaluator(task, Demonstrations.load(circles_folder), None, episodes=2)

    class Scripted(Policy):
        observation_space, action_space = task.spaces

        def __init__(self):
            self.prior = Categorical(3)
            self.order = np.array([2, 0, 1])

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            return task.expert(observation, self.order[state.argmax(axis=1)]), state

    result = evaluator(Scripted())
    assert result.return_mean == pytest.approx(998, abs=2)
    assert result.agreement == 1
    assert len(result.returns) == 3
