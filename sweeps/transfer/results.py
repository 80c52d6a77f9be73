"""What the rows and series of a transfer sweep say: curves, coordinate checks, series along training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.tables import numbers
from landsweep.sweeps.lab.probes import ACTIVATION
from landsweep.sweeps.transfer.coordinate_check import CoordinateCheck, coordinate_check
from landsweep.sweeps.transfer.curve import RateCurve
from landsweep.sweeps.transfer.recipes import COORDINATES, CURVE, PART, RATE, SHARPNESS

__all__ = ["Results"]


@dataclass(frozen=True)
class Results:
    """The results of a sweep, by recipe and size.

    Attributes:
        over: what the size is: width, depth, batch_size or steps.
        arms: names of the recipes; one empty name where there is one only.
        rows: of models that ended, with `arm` and `size`.
        series: key, step, metric, value.
    """

    over: str
    arms: tuple[str, ...]
    rows: pd.DataFrame
    series: pd.DataFrame

    @classmethod
    def of(cls, over: str, arms: tuple[str, ...], rows: pd.DataFrame, series: pd.DataFrame) -> Results:
        """From the rows as the ledger has them."""
        ended = rows[rows["status"].isin(["ok", "diverged"])].copy()
        ended["arm"] = ended.get("recipe", "")
        ended["size"] = pd.to_numeric(ended[over])
        return cls(over, arms or ("",), ended, series)

    def part(self, arm: str, part: str) -> pd.DataFrame:
        """Rows of one recipe and purpose, by size."""
        chosen = self.rows[(self.rows["arm"] == arm) & (self.rows[PART] == part)]
        return chosen.sort_values(["size", RATE, "seed"])

    def curves(self, arm: str) -> dict[int, RateCurve]:
        """Curves of one recipe, by size."""
        curves, all_rows = {}, self.part(arm, CURVE)
        seeds = sorted(set(all_rows["seed"]))  # the same columns in every size, though some have not got so far yet
        for size, rows in all_rows.groupby("size"):
            table = rows.assign(loss=numbers(rows["loss"])).pivot_table(
                index=RATE, columns="seed", values="loss", dropna=False
            )
            if table.size:
                rates = np.log2(table.index.to_numpy(dtype=float))
                curves[int(size)] = RateCurve(rates, table.reindex(columns=seeds).to_numpy(dtype=float))
        return curves

    def initial(self, arm: str, size: int) -> float:
        """Mean loss of the initial weights."""
        rows = self.part(arm, CURVE)
        values = numbers(rows.loc[rows["size"] == size, "initial_loss"])
        values = values[np.isfinite(values)]
        return float(values.mean()) if len(values) else np.nan

    def check(self, arm: str) -> CoordinateCheck | None:
        """The coordinate check of one recipe; None where there is none."""
        rows = self.part(arm, COORDINATES)
        series = self.series[self.series["metric"].str.startswith(ACTIVATION)] if len(self.series) else self.series
        if not len(rows) or not len(series):
            return None
        means: dict[int, list[dict[tuple[str, int], float]]] = {}
        by_key = dict(list(series.groupby("key")))
        for size, key in zip(rows["size"], rows["key"], strict=True):
            if key in by_key:
                lines = by_key[key]
                names = lines["metric"].str.removeprefix(ACTIVATION)
                values = zip(names, lines["step"], lines["value"], strict=True)
                model = {(str(n), int(s)): float(v) for n, s, v in values}
                means.setdefault(int(size), []).append(_ends(model) if self.over == "depth" else model)
        return coordinate_check(means) if means else None

    def along(self, arm: str, metric: str) -> dict[int, pd.DataFrame]:
        """A probe's values along training, by size: of the sharpness series, or of the models at the best rate."""
        rows = self.part(arm, SHARPNESS)
        if metric != "sharpness":
            rows = self.part(arm, CURVE)
            best = {size: curve.optimum().point for size, curve in self.curves(arm).items()}
            best_of_size = rows["size"].map(best)
            rows = rows[np.isclose(np.log2(numbers(rows[RATE])), best_of_size) & (rows["seed"] == rows["seed"].min())]
        series = self.series[self.series["metric"] == metric] if len(self.series) else self.series
        joined = rows[["key", "size", RATE]].merge(series, on="key")
        joined = joined[np.isfinite(numbers(joined["value"]))]
        return {int(size): lines.sort_values("step") for size, lines in joined.groupby("size")}


_NUMBERED = re.compile(r"(blocks|hidden)\.(\d+)(.*)")
_BRANCH_ENDS = (".merge", ".down", ".conv2")  # schemes shrink them; what they add is in the block's output


def _ends(model: Mapping[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    """Activations under names that networks of any depth share: the first and the last block or hidden layer."""
    last = max((int(m[2]) for layer, _ in model if (m := _NUMBERED.fullmatch(layer))), default=0)
    common = {}
    for (layer, step), value in model.items():
        if (m := _NUMBERED.fullmatch(layer)) is None:
            common[layer, step] = value
            continue
        for place, name in ((0, "first"), (last, "last")):
            if int(m[2]) == place and m[3] not in _BRANCH_ENDS:
                common[f"{m[1]}.{name}{m[3]}", step] = value
    return common
