"""Spaces of a search: values as tables give them back, and settings that are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.search.space import Setting, flat
from tests.orchestrator.search.driven import SPACE


def test_values_come_back_from_tables_as_they_were() -> None:
    (choice, whole, real) = flat(
        {
            "a": Setting(choice=(None, 1, 0.5, True, "x", [1, 2])),
            "b": Setting(integer=(1, 9)),
            "c": Setting(uniform=(0, 1)),
        }
    )
    cells = [None, math.nan, 1.0, "1", 0.5, "0.5", "true", "x", "[1,2]"]
    assert [choice.restored(cell) for cell in cells] == [None, None, 1, 1, 0.5, 0.5, True, "x", "[1,2]"]
    assert (whole.restored(3.0), real.restored(0.1)) == (3, 0.1) and type(whole.restored(3.0)) is int
    with pytest.raises(SpecError, match="can't be chosen"):
        choice.restored("y")


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ({"uniform": [1, 1]}, "the range is empty"),
        ({"log_uniform": [0, 1]}, "above 0"),
        ({"integer": [1, 9], "step": 20}, "does not fit"),
        ({"log_uniform": [1, 9], "step": 2}, "has no steps"),
        ({"choice": []}, "nothing to choose"),
        ({"choice": [1, 1.0]}, "twice"),
        ({"uniform": [0, 1], "choice": [1]}, "is one of uniform"),
    ],
)
def test_settings_that_can_not_be(setting: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Setting.model_validate(setting)


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        (
            {"x": {"uniform": [0, 1], "when": {"method": "sgd"}}},
            r"space\.x\.when: there is no setting 'method'; there are x",
        ),
        (SPACE | {"z": {"uniform": [0, 1], "when": {"method": "lion"}}}, "method is never 'lion'.*sgd"),
        (
            {"a": {"choice": [1, 2], "when": {"b": 1}}, "b": {"choice": [1, 2], "when": {"a": 1}}},
            "the conditions of a, b depend on each other in a circle",
        ),
        ({"o": {"choice": {"sgd": {"momentum": {"uniform": [1, 0]}}}}}, r"space\.o\.sgd\.momentum.*range is empty"),
    ],
)
def test_conditions_that_can_not_be(space: dict[str, Any], complaint: str) -> None:
    with pytest.raises((SpecError, ValueError), match=f"(?s){complaint}"):
        flat({n: Setting.model_validate(s) for n, s in space.items()})
