"""What `plan` and `run` say of rows that are there: strays, changed columns, and what can be known of the time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.commands.forecast import forecast
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.site import Site, load_site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import QuietWatch, run_example
from tests.support.cli import LOCAL, command, write_spec

FUNCTION, SEARCH = kind_named("function"), kind_named("search")


def spread(a: int = 0, b: int = 0, fail: bool = False, name: str = "loss") -> dict[str, float]:
    if fail:
        raise ValueError("on purpose")
    return {name: a + b}


def spread_spec(**changes: Any) -> Any:
    data = {"name": "p", "function": "tests.orchestrator.commands.test_plan:spread", "axes": {"a": {"range": 6}}}
    return parse(FUNCTION.spec, data | changes, "test")


def planned(spec: Any, folder: Path, kind: Any = FUNCTION) -> str:
    return forecast(kind, spec, load_site(None), str(folder)).text()


def test_rows_of_another_plan_are_said_by_plan_and_by_run(tmp_path: Path) -> None:
    data = {
        "kind": "function",
        "name": "p",
        "function": "tests.orchestrator.commands.test_plan:spread",
        "axes": {"a": [1, 2, 3]},
    }
    write_spec(tmp_path, data)
    command("run", "spec.yaml", *LOCAL, cwd=tmp_path)
    more = ["spec.yaml", "axes.b=[0, 1]"]
    said = "3 of 3 rows belong to no unit of this plan (the axis 'b' is new): they stay, but reports leave them out"
    plan = command("plan", *more, cwd=tmp_path).stdout
    assert said in plan and "with --out" in plan and "6 in all, 0 done" in plan
    assert said in json.loads(command("plan", *more, "--json", cwd=tmp_path).stdout)["remarks"][0]
    assert said in command("run", *more, *LOCAL, cwd=tmp_path).stderr
    assert "3 of 9 rows belong to no unit" in command("plan", *more, cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("axes", "why"),
    [
        ({"b": {"range": 6}}, "(the axis 'b' is new; the axis 'a' is gone)"),
        ({"a": {"range": 4}}, "2 of 6 rows belong to no unit of this plan: they stay"),
        ({"a": {"linear": [0, 1, 2]}}, "4 of 6 rows"),
    ],
)
def test_why_rows_belong_to_no_unit(tmp_path: Path, axes: dict[str, Any], why: str) -> None:
    run_example(FUNCTION, spread_spec(), tmp_path)
    assert why in planned(spread_spec(axes=axes), tmp_path)


def test_a_plan_that_only_grows_says_nothing(tmp_path: Path) -> None:
    run_example(FUNCTION, spread_spec(), tmp_path)
    assert forecast(FUNCTION, spread_spec(axes={"a": {"range": 9}}), load_site(None), str(tmp_path)).remarks == ()


def test_columns_that_change_are_said(tmp_path: Path) -> None:
    run_example(FUNCTION, spread_spec(columns={"loss": {}}), tmp_path)
    more = planned(spread_spec(columns={"loss": {}, "time": {}}), tmp_path)
    assert "columns have changed, so these are null: time in those that are there." in more
    renamed = spread_spec(columns={"error_rate": {}}, axes={"a": {"range": 7}})
    said = "null: loss in new rows; error_rate in those that are there. A column that only has a new name is split so"
    assert said in planned(renamed, tmp_path)
    watch = QuietWatch()
    run_sweep(FUNCTION, renamed, Site(executor="local"), tmp_path, folder=Path.cwd(), watch=watch)
    assert any(said in line for line in watch.said)
    assert forecast(FUNCTION, renamed, load_site(None), str(tmp_path)).remarks == (), "said once"


def test_the_time_is_said_or_why_it_is_not_known(tmp_path: Path) -> None:
    assert "time: unknown, because no unit has run yet" in planned(spread_spec(), tmp_path / "none")
    run_example(FUNCTION, spread_spec(), tmp_path / "done")
    assert "time: nothing is left to run" in planned(spread_spec(), tmp_path / "done")
    assert "s per unit, so about" in planned(spread_spec(axes={"a": {"range": 9}}), tmp_path / "done")
    run_example(FUNCTION, spread_spec(fixed={"fail": True}), tmp_path / "failed")
    grown = spread_spec(fixed={"fail": True}, axes={"a": {"range": 9}})
    assert "because all units that have run failed" in planned(grown, tmp_path / "failed")


def test_the_time_of_a_search_without_a_number_of_units(tmp_path: Path) -> None:
    data = {
        "name": "s",
        "function": "tests.orchestrator.commands.test_plan:spread",
        "space": {"a": {"integer": [0, 9]}},
        "goals": [{"minimise": "loss"}],
        "budget": {"seconds": 1e-9},
        "generation": 2,
    }
    run_example(SEARCH, parse(SEARCH.spec, data, "test"), tmp_path)
    more = parse(SEARCH.spec, data | {"budget": {"seconds": 9}}, "test")
    text = planned(more, tmp_path, SEARCH)
    assert "s per unit so far; how many more the search needs depends on their results" in text


@pytest.mark.parametrize("word", ["none", "off", "false", "None", "no", "''"])
def test_words_that_turn_tracking_off(word: str) -> None:
    assert load_site("local", [f"tracking={word}"]).tracking is False
    assert load_site("local", ["tracking=sqlite:///x.db"]).tracking == "sqlite:///x.db"
    assert load_site("local").tracking is None
