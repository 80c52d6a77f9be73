"""`landsweep predict`: what the fit of a study says about other budgets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from landsweep.orchestrator.commands.display import table_text
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.parts import Table
from landsweep.orchestrator.run.sweep import Sweep
from landsweep.sweeps.scaling.ladder import Ladder
from landsweep.sweeps.scaling.spec import ScalingSpec
from landsweep.sweeps.scaling.study import Study, best_sizes

__all__ = ["ALLOCATION", "Prediction", "allocation_lines", "predict"]

ALLOCATION = ("FLOPs", "N", "interval", "D", "interval", "loss", "interval", "width", "depth", "steps")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The best size and horizon for budgets.

    Attributes:
        law: name of the law.
        formula: of it.
        points: that it was fitted to.
        table: as `best_sizes` gives it.
    """

    law: str
    formula: str
    points: int
    table: pd.DataFrame

    def json(self) -> str:
        """With stable names."""
        lines = json.loads(self.table.to_json(orient="records", double_precision=15))
        return json.dumps({"law": self.law, "formula": self.formula, "points": self.points, "budgets": lines})

    def text(self) -> str:
        """For people."""
        caption = f"{self.formula}, fitted to {self.points} runs; the best size for each budget, 95 % intervals"
        shown = table_text(Table(caption, ALLOCATION, allocation_lines(self.table)))
        warnings = [
            f"warning: {r['flops']:.3g} FLOPs: {r['warning']}" for _, r in self.table.iterrows() if r["warning"]
        ]
        return "\n".join([shown, *warnings])


def allocation_lines(table: pd.DataFrame) -> list[list[Any]]:
    """Cells for a table of `best_sizes`."""
    lines = []
    for row in table.to_dict("records"):
        spans = [f"{row[f'{k}_low']:.3g} to {row[f'{k}_high']:.3g}" for k in ("N", "D")]
        if row["end"]:
            spans = [f"{row['end']} size there is", "-"]
        loss = f"{row['loss_low']:.4g} to {row['loss_high']:.4g}"
        depth = "-" if pd.isna(row["depth"]) else int(row["depth"])
        lines.append(
            [f"{row['flops']:.3g}", f"{row['N']:.3g}", spans[0], f"{row['D']:.3g}", spans[1], f"{row['loss']:.4g}",
             loss, row["width"], depth, row["steps"]]
        )  # fmt: skip
    return lines


def predict(where: str, flops: Sequence[float]) -> Prediction:
    """Fit the rows of a study and say what is best for budgets.

    Raises:
        UsageError: no study, too few rows, a budget that no size can be trained for.
    """
    sweep = Sweep.at(where)
    if not isinstance(sweep.spec, ScalingSpec):
        raise UsageError(f"{where} holds a sweep of the kind {sweep.kind.name}; predict reads studies (kind: scaling)")
    spec = sweep.spec
    study = Study.of(spec, sweep.rows())
    if study.fit is None:
        raise UsageError(f"{where} can't predict yet: {study.reason}")
    table = best_sizes(Ladder(spec), study.fit, flops, spec.parameters)
    return Prediction(spec.law, study.fit.law.formula, len(study.fit.residuals), table)
