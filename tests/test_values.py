"""Values keep their type: what a spec says is what the function gets and what the row says, or it is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landsweep.orchestrator.canonical import canonical, plain
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.reading import load_yaml, write_yaml
from landsweep.orchestrator.row import Outcome, RowMaker, param_columns
from landsweep.orchestrator.run.sweep import Sweep, load_spec
from landsweep.orchestrator.search import StudyPlanner, write_study
from landsweep.orchestrator.search.space import Dimension, Setting
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.storage.ledger.schema import table_of
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.orchestrator.unit import Unit
from landsweep.sweeps.lab.callables.session import CallableSession
from landsweep.sweeps.search.best import best_text
from landsweep.sweeps.search.kind import search_of
from landsweep.sweeps.search.trials import TRIAL, arguments
from tests.support.values import ODD_VALUES

FEW = settings(max_examples=10, deadline=None)
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8) | st.sampled_from(
    [v for v in ODD_VALUES if isinstance(v, str)]
)
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from([0, 0.0, -0.0, 1, 1.0, 2**53, 2.0**53, 2**53 + 1, 2**63])
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)


def distinct(values: list[Any]) -> list[Any]:
    """Without those that a spec refuses beside each other: 1 and 1.0, [1] and the text "[1]"."""
    return list({canonical(plain(v)): v for v in values}.values())


def finite(value: object) -> bool:
    if isinstance(value, list | dict):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


CHOICES = st.lists(VALUES, min_size=1, max_size=6).map(distinct)
POINTS = st.lists(VALUES.filter(finite), min_size=1, max_size=6).map(distinct)


def echo(**arguments: Any) -> dict[str, Any]:
    """What a function got, with types; the loss tells trials apart."""
    return {"got": repr(dict(sorted(arguments.items()))), "loss": float(len(repr(arguments)))}


def run(folder: Path, data: dict[str, Any], *assignments: str) -> tuple[Sweep, list[dict[str, Any]]]:
    """Run a spec from its file; rows as they lie on the disk."""
    file = folder / "spec.yaml"
    file.write_text(write_yaml({"function": "tests.test_values:echo", "name": "v", **data}), encoding="utf-8")
    kind, spec = load_spec(file, assignments)
    assert run_example(kind, spec, folder / "out").phase == "done"
    rows = Ledger.open(Store.at(folder / "out")).rows().to_pylist()
    assert {row["status"] for row in rows} == {"ok"}, rows
    return Sweep.at(folder / "out"), rows


@FEW
@given(VALUES, POINTS)
def test_a_function_gets_what_the_spec_says(value: Any, points: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        as_yaml = json.dumps(value) if finite(value) and value != "" else write_yaml([value])[2:].rstrip("\n")
        changes = [f"fixed.b={as_yaml}"] if finite(value) and "\\u" not in as_yaml else []
        data = {"kind": "function", "fixed": {"a": value}, "axes": {"x": points}}
        sweep, rows = run(Path(folder), data, *changes)
        both = {"a": value, "b": value} if changes else {"a": value}
        wanted = [repr({**both, "x": v}) for v in points]
        (column,) = param_columns({"x": [plain(v) for v in points]})
        order = {key: i for i, key in enumerate(sweep.keys())}
        rows.sort(key=lambda row: order[row["key"]])
        assert [row["got"] for row in rows] == wanted
        assert repr([row["x"] for row in rows]) == repr([column.cell(plain(v)) for v in points])
        assert len({repr(row["x"]) for row in rows}) == len(points), "each value has a cell of its own"
        assert repr(sweep.spec.fixed) == repr(both), "sweep.json holds it"  # type: ignore[attr-defined]
        assert sweep.manifest["fingerprint"] == sweep.spec.fingerprint()


@FEW
@given(CHOICES)
def test_a_search_rebuilt_from_its_rows_knows_what_each_trial_got(choices: list[Any]) -> None:
    with TemporaryDirectory() as folder:
        check_search(Path(folder), choices)


def check_search(folder: Path, choices: list[Any]) -> Sweep:
    data = {
        "kind": "search",
        "space": {"x": {"choice": choices}, "y": {"uniform": [0, 1]}},
        "fixed": {"a": choices[0]},
        "goals": [{"minimise": "loss"}],
        "sampler": {"method": "tpe", "n_startup_trials": 4},
        "budget": {"units": 3 * len(choices)},
        "generation": 4,
    }
    sweep, rows = run(folder, data)
    table = sweep.rows().set_index(TRIAL)
    dimensions = sweep.spec.dimensions()  # type: ignore[attr-defined]
    tried = set()
    for row in rows:
        values = {d.name: d.restored(row[d.name]) for d in dimensions}
        assert repr(values) == repr({d.name: d.restored(table.loc[row[TRIAL], d.name]) for d in dimensions})
        called = arguments(sweep.spec.space, values)  # type: ignore[attr-defined]
        assert row["got"] == repr({"a": choices[0], **called})
        tried.add(canonical(values["x"]))
    for row in rows[:2]:
        best = load_yaml(best_text(sweep.spec, sweep.rows(), row[TRIAL]), "best")  # type: ignore[arg-type]
        again = {**best["fixed"], **{n: v[0] for n, v in best["axes"].items()}}
        assert repr(dict(sorted(again.items()))) == row["got"], "best prints it"
    assert sweep.planner().exhausted and sweep.planner().ask(9) == []
    assert tried <= {canonical(plain(c)) for c in choices}
    return sweep


def test_values_that_compare_equal_are_choices_of_their_own(tmp_path: Path) -> None:
    choices = [
        0,
        False,
        1,
        True,
        "0",
        "false",
        "true",
        "1",
        None,
        "null",
        -0.0,
        math.inf,
        math.nan,
        "nan",
        [0],
        2**60 + 1,
    ]
    sweep = check_search(tmp_path, choices)
    planner = sweep.planner()
    assert isinstance(planner, StudyPlanner)
    planner.ask(1)
    got = {row["x"] for row in sweep.ledger.rows(["x"]).to_pylist()}
    assert len(got) >= 12, "of 16 choices in 48 trials"
    assert write_study(planner, search_of(sweep.spec), f"sqlite:///{tmp_path}/s.db", "i") == (48, 48)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_each_choice_is_restored_from_its_cell(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = distinct(
        [*ODD_VALUES, math.nan, math.inf, np.pi, 2**53, 2.0**53, 2**63, '"', '"1"', "[]", "inf", "Infinity"]
    )
    some = [pool[i] for i in rng.permutation(len(pool))[: rng.integers(1, len(pool))]]
    setting = Setting(choice=tuple(some))
    dimension = Dimension("x", setting)
    (column,) = param_columns({"x": setting.options()})
    for option in setting.options():
        assert repr(dimension.restored(column.cell(option))) == repr(option)


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("axes", {"x": [math.nan]}, r"axes\.x.*can't hold nan or inf"),
        ("axes", {"x": [[1, math.inf]]}, r"axes\.x.*can't hold nan or inf"),
        ("axes", {"x": [0, 0.0]}, r"axes\.x.*holds 0 and 0\.0, one number, twice"),
        ("axes", {"x": ["[1]", [1]]}, r"axes\.x.*twice"),
        ("space", {"x": {"choice": [1, 1.0]}}, r"space\.x.*1 and 1\.0 are one value"),
        ("space", {"x": {"choice": ["[1]", [1]]}}, r"space\.x.*written alike"),
        ("space", {"x": {"choice": [True, True]}}, r"space\.x.*True is listed twice"),
        ("space", {"x": {"integer": [0, 2**60]}}, r"space\.x.*exact below 2\*\*53"),
    ],
)
def test_what_can_not_be_told_apart_is_refused_with_its_field(
    tmp_path: Path, field: str, value: Any, complaint: str
) -> None:
    kind = "function" if field == "axes" else "search"
    more = {} if kind == "function" else {"goals": [{"minimise": "loss"}], "budget": {"units": 1}}
    file = tmp_path / "spec.yaml"
    file.write_text(write_yaml({"kind": kind, "function": "tests.test_values:echo", field: value, **more}))
    with pytest.raises(SpecError, match=complaint):
        load_spec(file)


def counts(i: int, large: list[int], other: Any = None) -> dict[str, Any]:
    """The i-th of some whole numbers; `other` says what else units give."""
    return {"n": large[i] if i < len(large) else other}


BIG = [2**53 + 1, 2**53 + 2, -(2**62) - 1, 2**63 - 1]


@pytest.mark.parametrize(
    ("large", "other", "kind", "cells"),
    [
        (BIG, 3, "int64", [*BIG, 3]),
        (BIG, None, "int64", [*BIG, None]),
        (BIG, 0.5, "string", [*map(str, BIG), "0.5"]),
        (BIG, math.nan, "string", [*map(str, BIG), "nan"]),
        (BIG, "many", "string", [*map(str, BIG), "many"]),
        ([1, 2, 3, 2**53], 0.5, "double", [1.0, 2.0, 3.0, 2.0**53, 0.5]),
    ],
)
@pytest.mark.parametrize("batches", [1, 5])
def test_whole_numbers_keep_their_digits(
    large: list[int], other: Any, kind: str, cells: list[Any], batches: int
) -> None:
    maker = RowMaker((), None)
    outcomes = [Outcome(str(i), counts(i, large, other)) for i in range(5)]
    units = [Unit(str(i), {}) for i in range(5)]
    if batches == 1:
        table = table_of([maker.batch(units, outcomes, [{}] * 5)])
    else:
        table = table_of([maker.batch([u], [o], [{}]) for u, o in zip(units, outcomes, strict=True)])
    assert str(table.schema.field("n").type) == kind
    assert repr(table.column("n").to_pylist()) == repr(cells)


def test_digits_survive_parts_merges_and_pandas(tmp_path: Path) -> None:
    data = {"kind": "function", "fixed": {"large": BIG, "other": 7}, "axes": {"i": {"range": 3}}}
    run(tmp_path, {**data, "function": "tests.test_values:counts"})
    sweep, rows = run(tmp_path, {**data, "function": "tests.test_values:counts"}, "axes.i.range=6")
    assert sorted(row["n"] for row in rows) == sorted([*BIG, 7, 7])
    assert sorted(sweep.rows()["n"]) == sorted([*BIG, 7, 7])


@pytest.mark.parametrize("value", [2**63, 2**64, -(2**63) - 1, np.uint64(2**63)])
def test_a_metric_beyond_64_bits_fails_alone_and_says_so(value: Any) -> None:
    session = CallableSession(lambda x: {"n": value}, {}, None, None, Workbench())
    (outcome,) = session.evaluate([Unit("k", {"x": 1})])
    assert isinstance(outcome, Outcome) and "64 fit: give it as float or text" in str(outcome.error)
    assert "64 fit" in str(RowMaker((), None).undeclared(Outcome("k", {"n": int(value)})))


@pytest.mark.parametrize("points", [[2**63], [2**63 - 1, 2**64], [1, 10**30], [0.5, 2**53 + 1], [-(2**63) - 1, True]])
def test_axes_hold_whole_numbers_of_any_size(tmp_path: Path, points: list[Any]) -> None:
    data = {"kind": "function", "axes": {"x": points}}
    _, rows = run(tmp_path, data)
    assert {row["got"] for row in rows} == {repr({"x": v}) for v in points}
    assert {str(row["x"]) for row in rows} == {canonical(v) for v in points}
    _, again = run(tmp_path, {**data, "axes": {"x": [*points, "more"]}})
    assert len(again) == len(rows) + 1, "a resume too"
