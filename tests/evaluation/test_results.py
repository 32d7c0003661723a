from dataclasses import dataclass

import pytest

from manyways.evaluation.results import Result


@dataclass(frozen=True)
class Found(Result):
    count: int
    mean: float | None
    rows: list[list[float]]
    names: list[int | None]


FOUND = Found(2, None, [[1.0, 2.5]], [None, 3])


def test_what_was_written_is_read_and_other_fields_are_ignored():
    assert Found.from_json(FOUND.to_json() | {"another": 1}) == FOUND
    assert Found.from_json(FOUND.to_json() | {"mean": 2}) == Found(2, 2.0, [[1.0, 2.5]], [None, 3])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"count": "two"}, ValueError),
        ({"count": None}, TypeError),
        ({"mean": [1]}, TypeError),
        ({"rows": [1.0]}, TypeError),
        ({"rows": "12"}, TypeError),
        ({"names": [[]]}, TypeError),
    ],
)
def test_what_is_of_another_kind_is_refused(change, error):
    with pytest.raises(error):
        Found.from_json(FOUND.to_json() | change)
    with pytest.raises(KeyError):
        Found.from_json({"count": 2})
