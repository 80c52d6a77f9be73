"""What probes measured last stands in the rows, in the report of a zoo, and can be the goal of a search."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from landsweep.orchestrator.errors import SpecError
from landsweep.orchestrator.report.parts import Table
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.spec import parse
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.lab.recipe import Recipe
from landsweep.sweeps.scaling.kind import ScalingKind
from landsweep.sweeps.search.checks import reported_metrics
from landsweep.sweeps.search.kind import SearchKind, SearchSpec
from landsweep.sweeps.transfer.kind import TransferKind, TransferSpec
from landsweep.sweeps.zoo.kind import ZooKind, ZooSpec

PROBES = [{"probe": "sharpness", "first": 32}, {"probe": "logits"}, {"probe": "attention"}, {"probe": "activations"}]
RECIPE: dict[str, Any] = {
    "data": {"source": "digits"},
    "net": {"net": "mlp", "hidden": [4]},
    "steps": 8,
    "evaluate": {"every_steps": 4, "first": 64, "probes": PROBES},
    "checkpoints": {"last": False},
}
NAMES = ["sharpness", "logit_mean", "logit_max", "log_z"]


def ran(kind: Any, spec: Any, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    assert run_example(kind, spec, folder, Site(executor="local")).phase == "done"
    sweep = Sweep.at(folder)
    return sweep.rows(), sweep.series()


def last(series: pd.DataFrame, key: str, metric: str) -> float:
    own = series[(series["key"] == key) & (series["metric"] == metric)].sort_values("step")
    return float(own["value"].iloc[-1])


def zoo(**fields: Any) -> ZooSpec:
    return ZooKind().parse({"kind": "zoo", "name": "z", "recipe": RECIPE, "backend": "loop", **fields}, "test")


def test_rows_hold_the_last_values_of_the_series(tmp_path: Path) -> None:
    """Null where a network has no such thing, here attention; of a model that diverged, what it had last."""
    spec = zoo(axes={"optimizer.learning_rate": [0.1, 1e30]}, seeds=[0, 1])
    rows, series = ran(ZooKind(), spec, tmp_path)
    assert rows["attention_max"].isna().all() and not [c for c in rows if "activation/" in c]
    good = rows[rows["status"] == "ok"]
    assert len(good) == 2 and set(rows["status"]) == {"ok", "diverged"}
    for row in good.to_dict("records"):
        assert {n: row[n] for n in NAMES} == {n: last(series, row["key"], n) for n in NAMES}
    assert good["sharpness"].nunique() == 2 and (good["logit_max"] > good["logit_mean"]).all()
    report = ZooKind().report(spec, rows, series)
    tables = [part for s in report.sections for part in s.parts if isinstance(part, Table)]
    shown = {str(line[0]): line for table in tables for line in table.lines}
    assert shown["sharpness"][1] == 2 and "attention_max" not in shown


def test_probes_of_some_units_alone_are_null_elsewhere(tmp_path: Path) -> None:
    bare = {**RECIPE, "evaluate": {"first": 64}}
    spec = zoo(recipe=bare, recipes={"plain": {}, "probed": {"evaluate.probes": [{"probe": "logits"}]}})
    rows, series = ran(ZooKind(), spec, tmp_path)
    by = rows.set_index("recipe")
    assert math.isnan(by["log_z"]["plain"])
    assert by["log_z"]["probed"] == last(series, by["key"]["probed"], "log_z")
    assert "sharpness" not in rows and "log_z" not in {c.name for c in ZooKind().columns(zoo(recipe=bare))}
    axis = zoo(recipe=bare, axes={"evaluate": [{"probes": [{"probe": "sharpness"}], "first": 9}, {"first": 9}]})
    assert "sharpness" in {c.name for c in ZooKind().columns(axis)}


def search(**fields: Any) -> SearchSpec:
    base: dict[str, Any] = {
        "kind": "search",
        "name": "s",
        "recipe": RECIPE,
        "space": {"optimizer.learning_rate": {"log_uniform": [0.01, 1]}},
        "goals": [{"minimise": "sharpness"}],
        "budget": {"units": 6},
        "generation": 3,
        "backend": "loop",
    }
    return SearchKind().parse({**base, **fields}, "test")


def test_a_search_can_seek_the_flattest_model(tmp_path: Path) -> None:
    rows, series = ran(SearchKind(), search(), tmp_path)
    assert [last(series, key, "sharpness") for key in rows["key"]] == rows["sharpness"].tolist()
    best = SearchKind().tracked(search(), rows)["sharpness"]
    assert best.iloc[0] == rows["sharpness"].min()
    assert reported_metrics(search(pruner={"method": "median"}))
    with pytest.raises(SpecError, match="no metric 'sharpness'; there are"):
        search(recipe={**RECIPE, "evaluate": {"every_steps": 4}})
    with pytest.raises(SpecError, match="no metric 'best_sharpness'"):
        search(goals=[{"minimise": "best_sharpness"}])


def test_transfer_and_scaling_have_the_columns_of_their_probes() -> None:
    example = TransferKind().example()
    assert "sharpness" in {c.name for c in TransferKind().columns(example)}
    without = {**example.model_dump(mode="json"), "sharpness": None, "recipe": {**RECIPE, "epochs": None}}
    names = {c.name for c in TransferKind().columns(parse(TransferSpec, without, "test"))}
    assert {*NAMES, "attention_max"} <= names
    study = ScalingKind().example()
    assert study.recipe is not None
    probed = Recipe.model_validate({**study.recipe.model_dump(mode="json"), "evaluate": RECIPE["evaluate"]})
    assert set(NAMES) <= {c.name for c in ScalingKind().columns(study.model_copy(update={"recipe": probed}))}


def test_two_probes_of_one_name_are_refused() -> None:
    with pytest.raises(SpecError, match="probes: sharpness is listed twice, but its values have one name"):
        zoo(recipe={**RECIPE, "evaluate": {"probes": [PROBES[0], {"probe": "sharpness", "first": 8}]}})
