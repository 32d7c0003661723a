import numpy as np
import pytest

from manyways import Demonstrations, InputError
from manyways.demonstrations.columns import as_numbers, inverse_std, varying
from manyways.demonstrations.summary import summarise


@pytest.mark.parametrize("size", [1e-12, 1e-7, 1.0, 1e9])
def test_whether_a_column_varies_does_not_depend_on_its_unit(size):
    rng = np.random.default_rng(0)
    values = (size * np.stack([rng.normal(size=50), np.full(50, 1 / 3)], axis=1)).astype(np.float32)
    np.testing.assert_array_equal(varying(values), [True, False])
    assert inverse_std(values)[0] == pytest.approx(1 / values[:, 0].std(), rel=1e-3)
    assert inverse_std(values)[1] == 0


def test_a_column_that_varies_by_rounding_alone_is_constant():
    values = np.float32(1e6) * (1 + np.float32(2e-7) * np.random.default_rng(0).random((100, 1), dtype=np.float32))
    assert not varying(values).any()


def test_positions_far_from_the_origin_keep_their_differences():
    rng = np.random.default_rng(0)
    near, offset = rng.normal(size=(200, 2)), np.array([4.5e6, 5e5])
    far = as_numbers(near + offset, "positions")
    assert far.dtype == np.float64
    np.testing.assert_allclose(far - offset, near, atol=1e-8)
    assert as_numbers(near, "positions").dtype == np.float32
    assert as_numbers(near + 10.0, "positions").dtype == np.float32


def test_demonstrations_and_summary_agree_on_constant_columns():
    rng = np.random.default_rng(0)
    observations = np.stack([rng.normal(size=40), np.full(40, 7.0)], axis=1)
    actions = np.stack([1e-9 * rng.normal(size=40), np.full(40, 1e-9)], axis=1)
    demonstrations = Demonstrations.from_arrays([(observations, actions)])
    assert demonstrations.ignored_columns == ("observations 1", "actions 1")
    constant = [column.name for column in summarise(demonstrations).columns if column.constant]
    assert constant == ["observations.1", "actions.1"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (1e-310, "too small to compute with; give them in smaller units"),
        (1e-42, "too small to compute with; give them in smaller units"),
        (1e36, "too large to compute with; give them in larger units"),
        (1e39, "too large to compute with; give them in larger units"),
    ],
)
@pytest.mark.parametrize("what", [0, 1])
def test_units_too_small_or_too_large_are_named(dtype, unit, message, what):
    if dtype is np.float32 and unit in (1e-310, 1e39):  # 0 and infinity
        return
    pair = [np.random.default_rng(0).normal(size=(9, 2)), np.ones((9, 2))]
    pair[what] = pair[what].astype(dtype) * dtype(unit)
    with pytest.raises(InputError, match=f"the {('observations', 'actions')[what]} of trajectory 0 are .*{message}"):
        Demonstrations.from_arrays([pair])


def test_a_column_too_small_to_compute_with_counts_as_one_that_does_not_vary():
    seen = np.random.default_rng(0).normal(size=(9, 2)) * [1, 1e-42]
    demonstrations = Demonstrations.from_arrays([(seen, seen[:, :1])])
    assert demonstrations.ignored_columns == ("observations 1",)
    assert np.isfinite(inverse_std(demonstrations.observations)).all()
