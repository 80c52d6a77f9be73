"""Transfer judged from any table of runs with learning rates, sizes and losses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.report.columns_text import columns_text
from landsweep.sweeps.laws.fitting.fitted import Fit
from landsweep.sweeps.transfer.curve import Drift, RateCurve, drift, notes, penalty
from landsweep.sweeps.transfer.optimum_laws import rate_law

__all__ = ["Judged", "judged"]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a table says about transfer.

    Attributes:
        over: column of the size.
        curves: loss over learning rate of each size, the smallest first.
        drift: how the best rate moves.
        law: best rate = c size^p; None below three bracketed optima.
        missing: rows without a loss, such as runs that diverged.
    """

    over: str
    curves: Mapping[int, RateCurve]
    drift: Drift
    law: Fit | None
    missing: int

    def lines(self) -> list[dict[str, Any]]:
        """A line for each size; numbers that are not known are None, and `note` says why."""
        penalties, reasons, lines = penalty(self.curves), notes(self.curves), []
        for size, curve in self.curves.items():
            best = curve.optimum()
            numbers = {
                "best_rate": 2**best.rate, "lowest_point": 2**best.point, "loss": best.loss, "penalty": penalties[size]
            }  # fmt: skip
            lines.append(
                {
                    self.over: size,
                    **_finite_or_none(numbers),
                    "rates": int(np.isfinite(curve.means()).sum()),
                    "seeds": curve.losses.shape[1],
                    "note": reasons[size],
                }
            )
        return lines

    def json(self) -> dict[str, Any]:
        """With stable names."""
        d, law = self.drift, self.law
        return {
            "over": self.over,
            "sizes": self.lines(),
            "drift": _finite_or_none({"per_doubling": d.slope, **_ends(d.interval), "span": d.spread})
            | {"bracketed": d.sizes},
            "law": None if law is None else _finite_or_none({"p": law["p"], **_ends(law.interval("p"))}),
            "rows_without_loss": self.missing,
        }

    def text(self) -> str:
        """For people."""
        lines = [list(line.values()) for line in self.lines()]
        header = (self.over, "best rate", "lowest point", "loss", "penalty", "rates", "seeds", "note")
        d, parts = self.drift, [columns_text(header, lines), ""]
        if self.missing:
            parts.append(f"{self.missing} rows have no loss; their rates count as not tried by that seed")
        if math.isnan(d.slope):
            parts.append(f"drift: not known, {d.sizes} of {len(self.curves)} optima are bracketed and two are needed")
        else:
            interval = f" ({d.interval[0]:+.2f} to {d.interval[1]:+.2f})" if math.isfinite(d.interval[0]) else ""
            parts.append(
                f"drift: log2 best rate moves by {d.slope:+.2f}{interval} per doubling of {self.over}, and spans "
                f"{d.spread:.2f}; {d.sizes} of {len(self.curves)} optima are bracketed"
            )
        if self.law is not None:
            low, high = self.law.interval("p")
            parts.append(f"law: best rate ~ {self.over}^{self.law['p']:+.3f} (95 %: {low:+.3f} to {high:+.3f})")
        parts.append("penalty: how much higher the loss is at the best rate of the first size than at the size's own")
        return "\n".join(parts)


def judged(table: pd.DataFrame, *, rate: str, over: str, loss: str, seed: str | None) -> Judged:
    """Judge a table with a row for each run.

    Args:
        table: any.
        rate: column of the learning rate, positive.
        over: column of the size, whole numbers from 1.
        loss: column of the loss; missing or infinite where a run diverged.
        seed: column of the seed; None where each size has one run at each rate.

    Raises:
        UsageError: a column is missing, is given twice or holds other values, there is no row, or two rows are one run.
    """
    options = {"--rate": rate, "--over": over, "--loss": loss} | ({} if seed is None else {"--seed": seed})
    for option, name in options.items():
        if name not in table.columns:
            raise UsageError(
                f"{option} {name}: there is no such column; the table has {', '.join(map(str, table.columns))}"
            )
    if len(set(options.values())) < len(options):
        given = ", ".join(f"{option} {name}" for option, name in options.items())
        raise UsageError(f"{given}: each must be a column of its own")
    if table.empty:
        raise UsageError("no row is left to judge; leave fewer out with --exclude")
    rates, sizes, losses = (pd.to_numeric(table[n], errors="coerce").to_numpy(np.float64) for n in (rate, over, loss))
    if not (np.isfinite(rates) & (rates > 0)).all():
        raise UsageError(f"--rate {rate}: rates must be positive numbers in every row")
    if not (np.isfinite(sizes) & (sizes >= 1) & (sizes == np.floor(sizes))).all():
        raise UsageError(f"--over {over}: sizes must be whole numbers from 1 in every row")
    if seed is not None and (missing := int(table[seed].isna().sum())):
        raise UsageError(f"--seed {seed}: the column is empty in {missing} rows; fill it, or leave such rows out")
    seeds = np.zeros(len(table), int) if seed is None else pd.factorize(table[seed], sort=True)[0]
    runs = pd.DataFrame({"rate": np.log2(rates), "size": sizes.astype(int), "seed": seeds, "loss": losses})
    runs["loss"] = runs["loss"].where(np.isfinite(runs["loss"]))
    if (twice := runs.duplicated(["rate", "size", "seed"])).any():
        row = int(np.flatnonzero(twice)[0])
        raise UsageError(
            f"row {row}: {over} {sizes[row]:g} has two runs at the rate {rates[row]:g}"
            + (" with the same seed" if seed is not None else "; name the column of the seed with --seed")
        )
    curves = {}
    for size, group in runs.groupby("size"):
        wide = group.pivot(index="rate", columns="seed", values="loss").reindex(columns=range(seeds.max() + 1))
        curves[int(size)] = RateCurve(wide.index.to_numpy(np.float64), wide.to_numpy(np.float64))
    best = [2 ** c.optimum().rate for c in curves.values()]
    return Judged(over, curves, drift(curves), rate_law(best, list(curves)), int(runs["loss"].isna().sum()))


def _ends(interval: tuple[float, float]) -> dict[str, float]:
    return dict(zip(("low", "high"), interval, strict=True))


def _finite_or_none(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """The same with None for what is no number."""
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
