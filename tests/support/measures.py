"""Zoos to be measured, and sweeps that measure them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from landsweep.orchestrator.run.progress import Snapshot
from landsweep.orchestrator.run.start import run_sweep
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.orchestrator.site import Site
from landsweep.orchestrator.testing.kind_suite import QuietWatch
from landsweep.sweeps.measure.kind import MeasureKind, MeasureSweepSpec
from tests.support.zoos import SMALL_RECIPE, train_zoo, zoo_spec

__all__ = ["KIND", "measure_spec", "measured", "small_zoo"]

KIND = MeasureKind()


def small_zoo(folder: Path, seeds: int = 2, rates: Sequence[float] = (0.01, 0.1), **changes: Any) -> Path:
    """Perceptrons over learning rates and seeds, with checkpoints at steps 0 and 20 and the last ones."""
    recipe = {**SMALL_RECIPE, **changes.pop("recipe", {})}
    axes = {"optimizer.learning_rate": list(rates), **changes.pop("axes", {})}
    train_zoo(zoo_spec(recipe=recipe, axes=axes, seeds={"range": seeds}, **changes), folder)
    return folder


def measure_spec(folder: Path, **fields: Any) -> MeasureSweepSpec:
    """Pinned; by default the loss of each model of the sweep `zoo` in a folder."""
    data = {
        "kind": "measure",
        "name": "m",
        "of": [{"sweep": "zoo"}],
        "measures": {"loss": {"measure": "losses", "evaluator": "test"}},
        **fields,
    }
    return KIND.parse(data, "spec").pinned(folder)


def measured(spec: MeasureSweepSpec, folder: Path, out: str = "out") -> tuple[pd.DataFrame, Snapshot]:
    """Rows and end of a run in `folder/out`."""
    site = Site(executor="local", tracking=False)
    end = run_sweep(KIND, spec, site, folder / out, folder=folder, watch=QuietWatch())
    return Sweep.at(folder / out).rows(), end
