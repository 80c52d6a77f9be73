"""Measures of a zoo's models, joined to its rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.run.sweep import Sweep

__all__ = ["with_measures"]

_FINISHED = ("ok", "diverged")  # what has diverged has values, some of which are not finite


def with_measures(rows: pd.DataFrame, where: str | Path, label: str) -> pd.DataFrame:
    """Rows of a zoo with the columns `MEASURE.COLUMN` of a measuring sweep; what was not measured is nan.

    Args:
        rows: of the zoo.
        where: results of the measuring sweep, path or URL.
        label: of the checkpoints whose values are joined; values of whole runs are joined for each label.

    Raises:
        UsageError: the sweep is of another kind, measures no single models of this zoo, or is joined already.
    """
    sweep = Sweep.at(where)
    if sweep.kind.name != "measure":
        raise UsageError(f"{where} holds a sweep of the kind {sweep.kind.name!r}, not of measures")
    measured = sweep.rows()
    single = measured[measured["of_key"].notna()] if "of_key" in measured else measured[:0]
    if not len(single) or not single["of_key"].isin(rows["key"]).any():
        raise UsageError(
            f"{where} has {len(measured)} rows, but no value of a single model, or of a run, of this zoo; values of "
            "pairs and groups belong to no row of it"
        )
    if "of_label" in single:
        labels = list(map(str, single["of_label"].dropna().unique()))
        if labels and label not in labels:
            raise UsageError(f"{where} has no values of checkpoints {label!r}; it has {', '.join(labels)}")
        single = single[single["of_label"].isna() | (single["of_label"] == label)]
    single = single[single["status"].isin(_FINISHED)]
    names = [c.name for c in sweep.kind.columns(sweep.spec) or () if not c.name.startswith("of_")]
    joined = rows
    for name, mine in single.set_index("of_key").groupby("measure", sort=False):
        columns = [c for c in names if c in mine and mine[c].notna().any()]
        values = mine[columns].add_prefix(f"{name}.")
        if clash := sorted(set(values) & set(joined)):
            raise UsageError(f"the rows have a column {clash[0]!r} already; join each sweep once")
        joined = joined.join(values, on="key", validate="many_to_one")
    return joined
