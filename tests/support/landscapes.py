"""Small landscapes, and their rows without an engine: preparations and sessions by hand."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from landsweep.orchestrator.assignments import override
from landsweep.orchestrator.kind import Workbench
from landsweep.orchestrator.row import RowMaker
from landsweep.orchestrator.spec import parse
from landsweep.sweeps.landscape.kind import LandscapeKind, LandscapeSpec

KIND = LandscapeKind()
DIGITS_LANDSCAPE: dict[str, Any] = {
    "kind": "landscape",
    "name": "t",
    "data": {"source": "digits"},
    "models": {"net": {"net": "mlp", "hidden": [8], "norm": "batch", "train": {"epochs": 1}}},
    "evaluators": {"test": {"split": "test"}},
    "axes": {"x": [-1, 0, 0.5], "y": [-0.25, 0.75]},
}


def landscape_spec(*assignments: str, **fields: Any) -> LandscapeSpec:
    return parse(LandscapeSpec, override({**copy.deepcopy(DIGITS_LANDSCAPE), **fields}, assignments), "test")


def prepare(spec: LandscapeSpec, folder: Path = Path()) -> dict[str, Mapping[str, Any]]:
    made: dict[str, Mapping[str, Any]] = {}
    for step in KIND.preparations(spec):
        arrays = dict(KIND.prepare(spec, step.name, {n: made[n] for n in step.needs}, Workbench(folder=folder)))
        for a in arrays.values():
            a.setflags(write=False)  # as they come out of the object store
        made[step.name] = arrays
    return made


def landscape_rows(spec: LandscapeSpec, made: Mapping[str, Any], folder: Path = Path()) -> pd.DataFrame:
    session = KIND.open(spec, made, Workbench(folder=folder))
    units = KIND.planner(spec).ask(10_000)
    outcomes = list(session.evaluate(units))
    session.close()
    maker = RowMaker(KIND.params(spec), KIND.columns(spec))
    assert [maker.undeclared(o) for o in outcomes] == [None] * len(units)
    frame: pd.DataFrame = maker.batch(units, outcomes, [{} for _ in units]).to_pandas()
    return frame


def model_state(made: Mapping[str, Any], name: str = "net") -> dict[str, Tensor]:
    arrays = made[f"model-{name}"]
    return {k[6:]: torch.tensor(v) for k, v in arrays.items() if k.startswith("state/")}


def directions_of(made: Mapping[str, Any], axes: str, name: str = "directions-net-0") -> dict[str, dict[str, Tensor]]:
    return {a: {k[2:]: torch.tensor(v) for k, v in made[name].items() if k.startswith(f"{a}/")} for a in axes}
