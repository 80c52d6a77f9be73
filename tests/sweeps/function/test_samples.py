"""Random combinations of arguments of a function, or of placeholders of a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from landsweep.orchestrator.draws import RandomSamples
from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import Outcome
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.command.kind import CommandKind, CommandSpec
from landsweep.sweeps.function.kind import FunctionKind, FunctionSpec

DRAW: dict[str, Any] = {"lr": {"log_uniform": [1e-3, 1]}, "steps": {"integer": [1, 9]}}
FUNCTION = "landsweep.sweeps.function.examples:descend"


def spec_of(**fields: object) -> FunctionSpec:
    return parse(FunctionSpec, {"name": "t", "function": FUNCTION, **fields}, "test")


def params(spec: FunctionSpec) -> list[dict[str, Any]]:
    return [dict(u.params) for u in FunctionKind().planner(spec).ask(10_000)]


@pytest.mark.parametrize("seed", range(20))
def test_each_combination_meets_all_values_of_the_axes(seed: int) -> None:
    samples = {"count": 5, "draw": DRAW, "seed": seed}
    spec = spec_of(axes={"start": [0, 1, 2]}, samples=samples)
    drawn = [RandomSamples.model_validate(samples).values(i) for i in range(5)]
    assert params(spec) == [{**values, "start": start} for values in drawn for start in (0, 1, 2)]
    assert FunctionKind().planner(spec).total == 15


def test_a_larger_count_keeps_the_units() -> None:
    few, many = (spec_of(samples={"count": n, "draw": DRAW}) for n in (3, 8))
    keys = [[u.key for u in FunctionKind().planner(s).ask(100)] for s in (few, many)]
    assert keys[0] == keys[1][:3] and len(set(keys[1])) == 8
    assert few.fingerprint() == many.fingerprint()


def test_an_equal_combination_is_one_unit() -> None:
    spec = spec_of(samples={"count": 50, "draw": {"steps": {"integer": [1, 4]}}})
    assert sorted(p["steps"] for p in params(spec)) == [1, 2, 3, 4]


def test_units_are_those_of_the_same_values_written_as_axes() -> None:
    """So a draw can be followed by a grid in the same results."""
    drawn = spec_of(samples={"count": 1, "draw": DRAW})
    [values] = params(drawn)
    written = spec_of(axes={name: [value] for name, value in values.items()})
    planners = [FunctionKind().planner(s) for s in (drawn, written)]
    assert planners[0].ask(2)[0].key == planners[1].ask(2)[0].key


def test_lists_and_mappings_are_drawn(tmp_path: Path) -> None:
    (tmp_path / "drawing.py").write_text("def total(hidden, scale):\n    return {'total': scale * sum(hidden)}\n")
    draw = {"hidden": {"choice": [[1, 2], [3, 4, 5]]}, "scale": {"choice": [1, 10]}}
    spec = parse(
        FunctionSpec,
        {"name": "t", "function": "drawing:total", "samples": {"count": 40, "draw": draw}},
        "test",
    )
    units = FunctionKind().planner(spec).ask(100)
    outcomes = FunctionKind().open(spec, {}, Workbench(folder=tmp_path)).evaluate(units)
    totals = {o.key: o.metrics["total"] for o in outcomes if isinstance(o, Outcome)}
    assert {(u.params["hidden"], u.params["scale"]): totals[u.key] for u in units} == {
        (json.dumps(hidden, separators=(",", ":")), scale): scale * sum(hidden)
        for hidden in ([1, 2], [3, 4, 5])
        for scale in (1, 10)
    }


def test_placeholders_of_a_program_are_drawn() -> None:
    fields = {
        "name": "t",
        "command": {"run": ["{python}", "-c", "pass", "{lr}", "{steps}"], "metrics": {"file": "m.json"}},
    }
    spec = parse(CommandSpec, {**fields, "samples": {"count": 4, "draw": DRAW}}, "test")
    units = CommandKind().planner(spec).ask(10)
    assert [u.params["lr"] for u in units] == [
        RandomSamples(count=4, draw=spec.samples.draw).values(i)["lr"] for i in range(4)
    ]  # type: ignore[union-attr]
    with pytest.raises(SpecError, match=r"\{steps\} stands nowhere in the command"):
        parse(
            CommandSpec,
            {**fields, "command": {"run": ["{python}", "{lr}"]}, "samples": {"count": 4, "draw": DRAW}},
            "test",
        )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "nothing is swept; give axes"),
        ({"axes": {"lr": [1]}, "samples": {"count": 2, "draw": DRAW}}, "['lr'] are swept twice"),
        ({"fixed": {"lr": 1}, "samples": {"count": 2, "draw": DRAW}}, "['lr'] stand under axes or samples and under"),
        ({"seed_argument": "lr", "samples": {"count": 2, "draw": DRAW}}, "['lr'] are given by setup or seed_argument"),
        ({"samples": {"count": 2, "draw": {"w": {"dirichlet": {"a": 1, "b": 1}}}}}, "samples.draw.w: dirichlet gives"),
        ({"samples": {"count": 2, "draw": {"key": {"uniform": [0, 1]}}}}, "columns of their own named ['key']"),
        (
            {"axes": {"a": [1]}, "zip": [["a", "lr"]], "samples": {"count": 2, "draw": DRAW}},
            "zip names ['lr'], which are drawn together already",
        ),
        ({"samples": {"count": 0, "draw": DRAW}}, "samples.count"),
        ({"samples": {"count": 2, "draw": {"lr": {"log_uniform": [0, 1]}}}}, "both bounds must be above 0"),
    ],
)
def test_bad_samples_are_refused(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SpecError) as e:
        spec_of(**fields)
    assert complaint in str(e.value)
