import numpy as np
import pytest
from data_sets import ACTIONS, BOTH, MAKERS, joined

from manyways.demonstrations import Demonstrations, summarise


def test_the_summary_has_columns_and_lengths_and_marks_odd_columns():
    observations = np.stack([np.arange(7.0), np.full(7, 3.0), np.arange(7.0)], axis=1).astype(np.float32)
    observations[2, 2] = np.nan
    summary = summarise(Demonstrations(observations, np.ones((7, 1), np.float32), np.array([2, 5])))
    assert (summary.trajectories, summary.steps, summary.shortest, summary.median, summary.longest) == (2, 7, 2, 3.5, 5)
    ramp, constant, broken, action = summary.columns
    assert (ramp.minimum, ramp.maximum, ramp.mean, ramp.std) == (0, 6, 3, 2)
    assert constant.constant
    assert not ramp.constant
    assert broken.not_finite == 1
    assert broken.maximum == 6
    assert (action.kind, action.name, action.constant) == ("action", "actions.0", True)
    assert [column.name for column in summary.columns[:3]] == ["observations.0", "observations.1", "observations.2"]


@pytest.mark.parametrize("kind", ["robomimic", "d4rl", "imitation", "csv", "LeRobot 3", "zarr"])
@pytest.mark.filterwarnings("ignore:.*not used")
def test_a_column_is_called_by_the_name_that_chooses_it(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    columns = summarise(Demonstrations.load(path)).columns
    observed, acted = ([c.name for c in columns if c.kind == kind] for kind in ("observation", "action"))
    chosen = Demonstrations.load(path, observations=observed[::-1], actions=acted[::-1])
    np.testing.assert_array_equal(chosen.observations, joined(BOTH)[:, ::-1])
    np.testing.assert_array_equal(chosen.actions, joined(ACTIONS)[:, ::-1])


def test_a_column_may_have_no_finite_value():
    actions = np.full((4, 1), np.inf, np.float32)
    summary = summarise(Demonstrations(np.zeros((4, 1), np.float32), actions, np.array([4])))
    assert summary.columns[1].not_finite == 4
    assert np.isnan(summary.columns[1].mean)
