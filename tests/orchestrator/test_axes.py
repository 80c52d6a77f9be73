"""Axes: exact values, and errors that say what is allowed."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from landsweep.orchestrator.axes import Axis, AxisLike

numbers = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 4)))


@given(start=numbers, stop=numbers, count=st.integers(2, 40), factor=st.integers(2, 5))
def test_a_finer_linear_grid_contains_the_coarser_bit_for_bit(
    start: float, stop: float, count: int, factor: int
) -> None:
    if start == stop:
        return
    coarse = Axis(linear=(start, stop, count)).points()
    fine = Axis(linear=(start, stop, factor * (count - 1) + 1)).points()
    assert fine[::factor] == coarse


@given(
    form=st.sampled_from(["log2", "geometric", "symlog"]),
    ends=st.tuples(st.integers(1, 12), st.integers(13, 30)),
    count=st.integers(2, 20),
    factor=st.integers(2, 4),
)
def test_finer_curved_grids_contain_the_coarser(form: str, ends: tuple[int, int], count: int, factor: int) -> None:
    coarse = Axis.model_validate({form: (*ends, count)}).points()
    fine = Axis.model_validate({form: (*ends, factor * (count - 1) + 1)}).points()
    assert fine[::factor] == coarse


@given(count=st.integers(2, 50))
def test_linear_values_are_the_rounded_rationals(count: int) -> None:
    exact = [float(Fraction(-1) + Fraction(2) * i / (count - 1)) for i in range(count)]
    assert list(Axis(linear=(-1, 1, count)).points()) == exact


def test_curved_values_against_the_formulas() -> None:
    assert Axis(log2=(-3, 3, 7)).points() == tuple(2.0**e for e in range(-3, 4))
    geometric = Axis(geometric=(1e-4, 1, 9)).points()
    assert [math.log10(float(str(v))) for v in geometric] == pytest.approx([-4 + i / 2 for i in range(9)], abs=1e-14)
    symlog = [float(str(v)) for v in Axis(symlog=(-1, 1, 21), threshold=0.01).points()]
    squeezed = [math.copysign(math.log10(1 + abs(v) / 0.01), v) for v in symlog]
    steps = [b - a for a, b in itertools.pairwise(squeezed)]
    assert steps == pytest.approx([steps[0]] * 20, rel=1e-12)
    assert symlog[10] == 0.0
    assert symlog == [-v for v in reversed(symlog)] or symlog[0] == -symlog[-1]


def test_one_point_axes_give_their_start() -> None:
    assert Axis(linear=(0.5, 2, 1)).points() == (0.5,)
    assert Axis(log2=(3, 9, 1)).points() == (8.0,)


def test_ranges_are_whole_numbers() -> None:
    assert Axis.model_validate({"range": 3}).points() == (0, 1, 2)
    assert Axis(range=(5, 0, -2)).points() == (5, 3, 1)
    assert all(isinstance(v, int) for v in Axis(range=(0, 4)).points())


def test_a_plain_list_is_an_axis() -> None:
    adapter: TypeAdapter[Axis] = TypeAdapter(AxisLike)
    assert adapter.validate_python(["sgd", "adam"]).points() == ("sgd", "adam")
    assert [repr(p) for p in adapter.validate_python([-0.0, 0, 1]).points()] == ["-0.0", "0", "1"]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"values": []}, "empty"),
        ({"range": 0}, "empty"),
        ({}, "one of values, linear"),
        ({"linear": (0, 1, 3), "log2": (0, 1, 3)}, "linear and log2"),
        ({"values": [1, 1.0]}, "twice"),
        ({"linear": (1, 1, 3)}, "twice"),
        ({"geometric": (0, 1, 3)}, "symlog"),
        ({"values": [float("nan")]}, "nan"),
        ({"linear": (0, 1, 0)}, "greater than or equal to 1"),
        ({"range": (1, 2, 0)}, "step != 0"),
        ({"lin": (0, 1, 3)}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_said(data: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Axis.model_validate(data)
