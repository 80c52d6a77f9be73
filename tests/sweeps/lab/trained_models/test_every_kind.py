"""Models of every kind that trains are read back: rows, recipe, module, weights, series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from landsweep import Zoo
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.kind import kind_named
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.zoo.export import export_zoo
from tests.support.paths import GOLDEN

SHARED = ("search", "transfer", "scaling")
KEPT: dict[str, Any] = {"at_steps": [0], "last": True}


def trained(kind: str, folder: Path) -> Zoo:
    """A run of the kind's example that keeps weights."""
    example = kind_named(kind).example()
    fields = example.model_dump(mode="json", by_alias=True)
    fields["recipe"]["checkpoints"] = KEPT
    run_example(kind_named(kind), kind_named(kind).parse(fields, "test"), folder)
    return Zoo(folder)


@pytest.fixture(scope="module", params=SHARED)
def zoo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return trained(request.param, tmp_path_factory.mktemp(request.param))


def loss(module: nn.Module, zoo: Zoo, key: str, split: str) -> float:
    """Mean loss by torch's own functions, of logits or of numbers."""
    samples = zoo[key].recipe().data.load(Path()).splits[split]
    with torch.no_grad():
        outputs = module(samples.inputs)
    if samples.targets.is_floating_point():
        return float(nn.functional.mse_loss(outputs, samples.targets))
    return float(nn.functional.cross_entropy(outputs, samples.targets))


def test_a_module_has_the_weights_that_gave_the_loss_of_its_row(zoo: Zoo) -> None:
    ok = zoo.select((zoo.rows["status"] == "ok") & zoo.rows["weights_file"].notna())
    assert len(ok) >= 8
    split = next(s for s in ("test", "train") if zoo.rows[f"{s}_loss"].notna().any())
    for model in ok:
        recipe = model.recipe()
        assert recipe.seed == model.row["seed"] and model.labels == ("step-000000", "last")
        assert len(model.vector()) == model.row["parameters"]
        assert loss(model.module(), zoo, model.key, split) == pytest.approx(model.row[f"{split}_loss"], rel=1e-4)
        assert model.architecture().parameters == tuple(n for n, _ in model.module().named_parameters())


def test_first_weights_are_those_that_the_recipe_draws(zoo: Zoo) -> None:
    model = zoo[0]
    shape, outputs = model.shape
    first = dict(model.recipe().build(shape, outputs).named_parameters())
    assert all(torch.equal(first[name], model.state("step-000000")[name]) for name in first)


def test_rows_are_in_the_order_of_what_was_swept(zoo: Zoo) -> None:
    columns = [c for c in zoo.swept if c in zoo.rows]
    assert columns[-1] == "seed" and list(zoo.rows[columns[0]]) == sorted(zoo.rows[columns[0]])


def test_a_selection_has_its_own_series_and_is_exported_with_it(zoo: Zoo, tmp_path: Path) -> None:
    few = zoo.select(zoo.rows["key"].isin(zoo.keys[1:4]))
    assert set(few.series()["key"]) == set(few.keys) < set(zoo.series()["key"])
    export_zoo(few, tmp_path / "export", per_model=True)
    back = Zoo(tmp_path / "export")
    assert sorted(back.keys) == sorted(few.keys)
    assert set(back.series()["key"]) == set(few.keys)
    for key in few.keys:
        assert torch.equal(back[key].vector(), few[key].vector()) and back.recipe(key) == few.recipe(key)
    assert (tmp_path / "export" / "README.md").is_file()


@pytest.mark.parametrize("kind", ["zoo", *SHARED])
def test_a_sweep_of_an_earlier_version_opens_and_gives_recipes(kind: str) -> None:
    zoo = Zoo(GOLDEN / "begun" / kind)
    recipes = {key: zoo.recipe(key) for key in zoo.rows["key"]}
    assert recipes and all(recipes[row["key"]].seed == row["seed"] for _, row in zoo.rows.iterrows())
    assert set(zoo.series()["key"]) <= set(zoo.rows["key"])
    assert len(zoo) == (len(zoo.rows) if kind == "zoo" else 0), "the others' examples keep no weights"
    assert len(zoo.select(zoo.rows["seed"] == -1).series()) == 0


@pytest.mark.parametrize("kind", ["function", "landscape"])
def test_a_sweep_that_trains_nothing_is_refused_by_its_kind(kind: str) -> None:
    with pytest.raises(UsageError, match=f"holds a sweep of the kind '{kind}', whose units are no trained models"):
        Zoo(GOLDEN / "begun" / kind)


def test_a_search_of_a_function_is_refused(tmp_path: Path) -> None:
    kind = kind_named("search")
    fields = {
        "name": "f",
        "function": "tests.support.searches:plain",
        "space": {"x": {"uniform": [0, 1]}},
        "goals": [{"minimise": "loss"}],
        "budget": {"units": 2},
    }
    run_example(kind, kind.parse(fields, "test"), tmp_path)
    with pytest.raises(UsageError, match="'search' without a recipe, so it trained no models"):
        Zoo(tmp_path)
