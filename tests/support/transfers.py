"""Transfer sweeps that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.kind_suite import run_example
from landsweep.sweeps.transfer.kind import TransferKind, TransferSpec
from landsweep.sweeps.transfer.results import Results

KIND = TransferKind()


def transfer_spec(**changes: Any) -> TransferSpec:
    """The example with other fields; None leaves one out."""
    example = KIND.example().model_dump(mode="json", exclude_defaults=True)
    data = {"kind": "transfer", "name": "transfer", **example, **changes}
    return KIND.parse({k: v for k, v in data.items() if v is not None}, "spec")


def transfer_recipe(**changes: Any) -> dict[str, Any]:
    return {**KIND.example().recipe.model_dump(mode="json", exclude_defaults=True), **changes}


def run_transfer(spec: TransferSpec, folder: Path) -> tuple[Results, pd.DataFrame]:
    assert run_example(KIND, spec, folder).phase == "done"
    sweep = Sweep(Ledger.open(Store.at(folder)))
    rows = sweep.rows()
    return Results.of(spec.over, tuple(spec.recipes), rows, sweep.series()), rows


PERCEPTRON = {
    "data": {"source": "digits"},
    "net": {"net": "mlp", "hidden": [64, 64, 64], "activation": "tanh", "init": {"method": "lecun_normal"}},
    "optimizer": {"method": "adam"},
    "schedule": {"shape": "linear"},
    "steps": 40,
    "batch_size": 128,
    "drop_last": True,
    "evaluate": {"splits": ["train"]},
    "checkpoints": {"last": False},
}
ADAPTIVE: dict[str, Any] = {
    "planner": "adaptive",
    "rates": {"log2": [-11, -1, 11]},
    "sharpness": {"times": 2, "first": 32, "products": 4},
    "coordinates": None,
}
