"""One way to write a value, one order to put values in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landsweep.orchestrator.report.values import group_labels, label, number, ordered, shown
from landsweep.orchestrator.search.space import Dimension, Setting
from landsweep.orchestrator.unit import as_python, canonical, digest

CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=8),
    st.integers(-128, 127).map(np.int8), st.floats(width=32).map(np.float32), st.just(pd.NA), st.just(pd.NaT),
)  # fmt: skip


@pytest.mark.parametrize(
    ("cell", "plain"),
    [
        (np.int64(64), 64), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("a"), "a"),
        (np.array(3), 3), (pa.scalar(7), 7), (pa.scalar("x"), "x"), (pa.scalar(None), None),
    ],
)  # fmt: skip
def test_cells_of_tables_have_the_identity_of_what_they_hold(cell: Any, plain: Any) -> None:
    assert as_python(cell) == plain and type(as_python(cell)) is type(plain)
    assert canonical({"a": [cell]}) == canonical({"a": [plain]})
    assert digest(cell) == digest(plain)


@pytest.mark.parametrize("options", [(16, 64, 256), (False, True), (0.1, 0.5), ("a", None, 3), (0, False, 1, True)])
def test_a_choice_is_restored_from_a_cell_of_any_type(options: tuple[Any, ...]) -> None:
    setting = Setting(choice=options)
    d = Dimension("x", setting)
    for option in setting.options():
        assert d.restored(option) is option
        kinds = [np.int64, np.int32, np.float64] if type(option) is int else [np.bool_] if type(option) is bool else []
        for kind in kinds:
            assert d.restored(kind(option)) is option
    assert None not in options or d.restored(math.nan) is None


def test_values_stand_in_the_order_that_people_expect() -> None:
    assert ordered([10, 9.5, 2, None, 2.0, np.int64(10)]) == [2, 9.5, 10, None]
    assert ordered(["b10", "b2", "a", None, math.nan]) == ["a", "b2", "b10", None]
    assert ordered(["3x3", "11x11", "5x5"]) == ["3x3", "5x5", "11x11"]
    assert ordered(["[16,8]", "[8]", "[16]", '{"a":2}']) == ["[8]", "[16]", "[16,8]", '{"a":2}']
    assert ordered([1, True, "1"]) == [True, 1, "1"], "a flag, a number and a text are three values"
    assert ordered(["muP", "base", "ntk", "new"], ["base", "ntk", "muP"]) == ["base", "ntk", "muP", "new"]


@given(st.lists(CELLS, max_size=12))
def test_any_cells_can_be_ordered_shown_and_named(cells: list[Any]) -> None:
    found = ordered(cells)
    assert len(found) == len(ordered(found)) <= len(cells)
    assert [repr(v) for v in ordered(reversed(found))] == [repr(v) for v in found]
    names, distinct = group_labels(cells)
    assert len(distinct) == len(found) == len(set(names))
    assert all("\n" not in shown(c) and len(shown(c)) < 600 for c in cells)


def test_numbers_have_sensible_digits() -> None:
    assert number(1.5766696757096255) == "1.57667"
    assert shown(1.5766696757096255, 4) == "1.577"
    assert [shown(v) for v in (1e37, 2048, 0.1 + 0.2, True, None, -0.0, math.inf)] == [
        "1e+37", "2048", "0.3", "yes", "-", "0", "inf"
    ]  # fmt: skip
    assert label(None) == "none" and len(label("x" * 10**6)) <= 40
