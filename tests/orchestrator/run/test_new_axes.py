"""An axis that is added with a `default`: existing rows stay, are shown with it, and none is computed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landsweep import load
from landsweep.orchestrator.errors import SpecError, SweepMismatch
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Ledger
from landsweep.orchestrator.storage.store import Store
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.orchestrator.ui.places import Places
from landsweep.orchestrator.ui.tables import Tables

FUNCTION, COMMAND = kind_named("function"), kind_named("command")
CALLS: list[tuple[Any, ...]] = []


def shifted(
    a: int, b: float = 0.5, c: str | None = None, shape: tuple[int, ...] = (1, 2), seed: int = 0, **rest: int
) -> dict[str, float]:
    CALLS.append((a, b, c, str(shape), seed))
    return {"loss": a + 10 * b + (0 if c is None else 100) + 1000 * len(shape), "seen": seed + sum(rest.values())}


def spec_of(axes: dict[str, Any], kind: Any = FUNCTION, **changes: Any) -> Any:
    fields = {"name": "grown", "function": f"{__name__}:shifted", "axes": axes}
    return kind.parse(fields | changes, "spec")


def computed(spec: Any, folder: Path) -> int:
    """Runs the spec; how many units were computed, the second look at the first one left out."""
    CALLS.clear()
    run_example(FUNCTION, spec, folder)
    return len(set(CALLS))


def losses(folder: Path, *params: str) -> dict[tuple[Any, ...], float]:
    rows = Sweep.at(folder).rows()
    return {tuple(row[p] for p in params): row["loss"] for row in rows.to_dict("records")}


A = {"a": [1, 2, 3]}


def test_rows_of_before_are_those_of_the_default(tmp_path: Path) -> None:
    assert computed(spec_of(A), tmp_path / "out") == 3
    before = Ledger.open(Store.at(tmp_path / "out")).rows(["key"]).column("key").to_pylist()

    grown = spec_of(A | {"b": {"values": [0, 0.5, 2], "default": 0.5}})
    assert computed(grown, tmp_path / "out") == 6
    assert computed(spec_of(A | {"b": [0, 0.5, 2]}), tmp_path / "whole") == 9  # the oracle: all at once, no default
    assert losses(tmp_path / "out", "a", "b") == losses(tmp_path / "whole", "a", "b")

    sweep = Sweep.at(tmp_path / "out")
    table = sweep.table()
    assert set(before) < set(table.column("key").to_pylist())
    old = {row["key"]: row["b"] for row in table.to_pylist() if row["key"] in before}
    assert set(old.values()) == {0.5} and sweep.verify().sound and not sweep.verify().missing
    loaded = load(tmp_path / "out")
    assert loaded.rows["b"].notna().all() and loaded.arrow.column("b").null_count == 0
    places = Places([str(tmp_path / "out")])
    assert Tables().read(places.all()[0]).table.column("b").null_count == 0

    # A second new axis, and one more value of the first: again only what is new.
    both = A | {"b": {"values": [0, 0.5, 2, 3], "default": 0.5}, "c": {"values": [None, "x"], "default": None}}
    assert computed(spec_of(both), tmp_path / "out") == 24 - 9
    plain = A | {"b": [0, 0.5, 2, 3], "c": [None, "x"]}
    run_example(FUNCTION, spec_of(plain), tmp_path / "plain")
    assert losses(tmp_path / "out", "a", "b", "c") == losses(tmp_path / "plain", "a", "b", "c")
    assert computed(spec_of(both), tmp_path / "out") == 0


def test_lists_and_zipped_axes_have_defaults(tmp_path: Path) -> None:
    computed(spec_of(A), tmp_path)
    shapes = {"values": [[1, 2], [1, 2, 3], [1]], "default": [1, 2]}
    assert computed(spec_of(A | {"shape": shapes}), tmp_path) == 6
    assert losses(tmp_path, "a", "shape")[1, "[1,2]"] == 2006 and losses(tmp_path, "a", "shape")[3, "[1]"] == 1008
    zipped = A | {"shape": shapes, "b": {"linear": [0, 1, 3], "default": 0.5}}
    assert computed(spec_of(zipped, zip=[["shape", "b"]]), tmp_path / "zipped") == 9
    keys = set(Sweep.at(tmp_path).keys())
    assert len(set(Sweep.at(tmp_path / "zipped").keys()) & keys) == 3  # [1, 2, 3] goes with 0.5: its rows are the same


def test_rows_of_another_plan_are_not_said_to_have_the_default(tmp_path: Path) -> None:
    run_example(FUNCTION, spec_of({"a": [1], "seed": [3, 4]}), tmp_path)
    run_example(FUNCTION, spec_of(A | {"b": {"values": [0.5, 1], "default": 0.5}}), tmp_path)
    stored = Sweep.at(tmp_path).stored().to_pylist()
    assert sorted((row["a"], row["seed"]) for row in stored if row["b"] is None) == [(1, 3), (1, 4)]


def test_keys_without_a_default_are_those_of_before() -> None:
    keys = [u.key for u in FUNCTION.planner(spec_of(A | {"b": [0.5, 1]}, function="m:f")).ask(9)]
    assert keys[:2] == ["ecd47edbe687f79c4152cb98a2ee51dc", "4bb7e470d6917b42b97cbf5d54692ca9"]


@pytest.mark.parametrize(
    ("axes", "changes", "says"),
    [
        ({"b": {"values": [1, 2], "default": 0.5}}, {}, "is none of the axis's values"),
        ({"c": {"values": [None, "x"], "default": "x"}}, {}, "can't hold null beside it"),
        ({"seed": {"range": 3, "default": 0}}, {"seed_argument": "rest"}, "drawn from the seed"),
    ],
)
def test_defaults_that_can_not_be_meant(axes: dict[str, Any], changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        spec_of(A | axes, **changes)


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ({"b": {"values": [0, 0.5], "default": 0}}, r"without b .*:shifted takes 0.5"),
        ({"shape": {"values": [[1], [2, 1]], "default": [2, 1]}}, r"takes \(1, 2\)"),
        ({"other": {"range": 2, "default": 0}}, "has no default for other"),
        ({"a": {"values": [1, 2], "default": 1}}, "has no default for a"),
        ({"seed": {"values": [False, True], "default": False}}, "takes 0"),
    ],
)
def test_a_default_that_the_function_does_not_have_is_refused(tmp_path: Path, axes: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        run_example(FUNCTION, spec_of(A | axes), tmp_path)
    assert not (tmp_path / "rows").exists()


def test_a_default_stays_what_it_was(tmp_path: Path) -> None:
    """Otherwise rows would be taken for others, or be computed again without a word."""
    b = {"values": [0, 0.5], "default": 0.5}
    run_example(FUNCTION, spec_of(A | {"b": b}), tmp_path)
    for axes, says in [
        ({"b": {**b, "default": 0}}, "defaults.b: was 0.5, is 0"),
        ({"b": [0, 0.5]}, "the default 0.5, without which"),
    ]:
        with pytest.raises(SweepMismatch, match=says):
            run_example(FUNCTION, spec_of(A | axes), tmp_path)
    run_example(FUNCTION, spec_of(A), tmp_path)  # the axis is gone: rows with the default are those of before
    with pytest.raises(SweepMismatch, match=r"defaults\.b: was 0\.5, is 0"):
        run_example(FUNCTION, spec_of(A | {"b": {**b, "default": 0}}), tmp_path)
    with pytest.raises(SweepMismatch, match=r"axes\.a: default is for an axis that is new"):
        run_example(FUNCTION, spec_of({"a": {"values": [1, 2], "default": 1}}), tmp_path)


def test_programs_have_no_defaults() -> None:
    with pytest.raises(SpecError, match="what a program does without a value can't be known"):
        COMMAND.parse({"name": "p", "command": ["true", "{a}"], "axes": {"a": {"range": 2, "default": 0}}}, "spec")


def test_the_spec_of_a_sweep_keeps_its_default(tmp_path: Path) -> None:
    spec = spec_of(A | {"c": {"values": [None, "x"], "default": None}})
    run_example(FUNCTION, spec, tmp_path)
    written = json.loads((tmp_path / "sweep.json").read_text())
    assert written["spec"]["axes"] == {
        "a": {"values": [1, 2, 3]},
        "c": {"values": [None, "x"], "default": None},
    }
    assert Sweep.at(tmp_path).spec == spec and written["definitions"] == {"defaults": {"c": None}}
