"""The order in which a sweep's models are shown, where those of unlike sizes can't be compared."""

from __future__ import annotations

import pandas as pd

from landsweep.sweeps.lab.training_units.ranking import best_of_each
from landsweep.sweeps.scaling.kind import ScalingKind
from landsweep.sweeps.scaling.study import CELL
from landsweep.sweeps.transfer.kind import TransferKind
from tests.support.studies import study_spec


def test_the_best_of_every_group_come_before_any_second_best() -> None:
    rows = pd.DataFrame({"size": [None, 8, 8, 16, 16, None], "loss": [9.0, 0.3, 0.2, None, 0.9, 8.0]})
    assert best_of_each(rows, ["size"], "loss").index.tolist() == [2, 4, 5, 0, 1, 3]
    assert best_of_each(rows.iloc[:0], ["size"], "loss").empty


def test_a_transfer_sweep_shows_the_best_rates_and_leaves_short_runs_out() -> None:
    kind = TransferKind()
    spec = kind.example()
    units = []
    planner = kind.planner(spec)
    while batch := planner.ask(100):
        units += batch
    rows = pd.DataFrame([dict(u.params) for u in units]).assign(status="ok", loss=[0.01 * i for i in range(len(units))])
    shown = kind.tracked(spec, rows)
    assert len(shown) == (rows["part"] != "coordinates").sum() < len(rows)
    first = shown.head(2 * 2 * 2)
    assert not first.duplicated(["part", "recipe", "width"]).any()
    best = rows[rows["part"] == "curve"].groupby(["recipe", "width"])["loss"].min()
    assert sorted(first.loc[first["part"] == "curve", "loss"]) == sorted(best)


def test_a_study_shows_the_runs_that_its_law_is_fitted_to() -> None:
    runs = [("isoflop", 1e6, 8, 5, 0.3), ("isoflop", 1e6, 8, 5, 0.2), ("isoflop", 1e6, 16, 3, 0.9)]
    columns = ["role", "budget", "width", "steps", "test_loss"]
    rows = pd.DataFrame(runs, columns=columns).assign(depth=None)
    shown = ScalingKind().tracked(study_spec(), rows)
    assert shown["test_loss"].tolist() == [0.2, 0.9, 0.3] and set(CELL) <= set(shown.columns)
