"""Recipes read back from a sweep's head and its rows: of every kind that trains, and of no other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from landsweep.orchestrator.errors import Untrusted, UsageError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.run.sweep import planned
from landsweep.sweeps.lab.trained_models.rebuild import Rebuilder


def head_of(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    spec = kind_named(kind).parse(fields, "test")
    return {"kind": kind, "spec": spec.model_dump(mode="json")}


@pytest.mark.parametrize("name", ["zoo", "search", "transfer", "scaling"])
def test_the_rows_of_every_trained_kind_give_the_recipes_of_their_units(name: str) -> None:
    kind = kind_named(name)
    spec = kind.example()
    rebuilder = Rebuilder(head_of(name, spec.model_dump(mode="json", by_alias=True)))
    units = list(planned(kind, spec))
    assert units
    for unit in units:
        row = {"key": unit.key, **dict.fromkeys(rebuilder.params), **unit.params}
        assert rebuilder.recipe(row) == kind.recipes(spec).of(unit.params)


CALL = {"name": "f", "function": "math:sin"}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("function", {**CALL, "axes": {"x": [1.0]}}),
        ("search", {**CALL, "space": {"x": {"uniform": [0, 1]}}, "goals": [{"minimise": "y"}], "budget": {"units": 2}}),
    ],
)
def test_what_trained_no_models_has_no_recipes(kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no trained models"):
        Rebuilder(head_of(kind, fields)).recipe({"key": "0", "x": 1.0})


def test_a_changed_row_of_a_search_can_not_name_code_of_its_own() -> None:
    fields = {
        "name": "s",
        "recipe": {
            "data": {"source": "digits"},
            "net": {"net": "mlp", "hidden": [8]},
            "optimizer": {"method": "class", "name": "torch.optim:SGD", "learning_rate": 0.1},
            "steps": 2,
        },
        "space": {"optimizer.name": {"choice": ["torch.optim:SGD", "pytorch_optimizer:Lamb"]}},
        "goals": [{"minimise": "test_loss"}],
        "budget": {"units": 2},
    }
    rebuilder = Rebuilder(head_of("search", fields))
    row = {"key": "0", "trial": 0, "seed": 0, "optimizer.name": "pytorch_optimizer:Lamb"}
    assert rebuilder.recipe(row).optimizer.model_dump()["name"] == "pytorch_optimizer:Lamb"
    with pytest.raises(Untrusted, match="evil:Class"):
        rebuilder.recipe({**row, "optimizer.name": "evil:Class"})
