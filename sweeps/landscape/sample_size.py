"""How much a surface still changes with one more sample: E (L_(k+1) - L_k)^2 for k samples.

L_k is the mean loss of the first k of n samples, in an order that is drawn. Over all orders the expectation is known:
with S^2 the variance of the samples' losses (divisor n - 1), l the loss of the next sample and without replacement,
Var(l - L_k) = S^2 (1 + 1/k), and L_(k+1) - L_k = (l - L_k) / (k + 1), so that

    E (L_(k+1) - L_k)^2 = S^2 / (k (k + 1)).

No order needs to be drawn: rows hold S as `loss_se` times the root of n. The decay with k^-2 is that of Kiselev et al.
(arXiv 2409.11995), whose bound near a minimum this is the exact value of, for every point of the surface.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from landsweep.orchestrator.report.canvas import PALETTE, log_ticks, new_picture, plain
from landsweep.orchestrator.report.drawing import Figure as Canvas
from landsweep.orchestrator.report.parts import Figure, Part, Table
from landsweep.orchestrator.report.values import is_missing
from landsweep.sweeps.lab.arrays import Floats

__all__ = ["expected_change", "sample_size_parts", "samples_for"]

_ENOUGH = 0.01  # of the loss: a change by one more sample that is small enough for the table
_ABSURD = 1e15  # samples; nobody has so many, and powers of them overflow


def expected_change(deviation: float, k: Floats) -> Floats:
    """E (L_(k+1) - L_k)^2 over all orders of the samples.

    Args:
        deviation: standard deviation of the samples' losses, with divisor n - 1.
        k: numbers of samples, from 1 to n - 1.
    """
    change: Floats = deviation / k * (deviation / (k + 1))  # the square and the product can overflow
    return change


def samples_for(deviation: float, change: float) -> int:
    """The least k from which one more sample moves the mean loss by no more than `change`, as a root mean square."""
    return max(1, math.ceil(math.hypot(0.5, deviation / change) - 0.5))


def sample_size_parts(evaluators: Sequence[str], centers: pd.DataFrame, rows: pd.DataFrame) -> list[Part]:
    """A table and a figure; empty where no loss has a standard error.

    Args:
        evaluators: names.
        centers: for each model its row at the centre.
        rows: of the whole grid, as far as it was computed.
    """
    lines: list[list[object]] = []
    curves: list[tuple[str, str, float, float, float]] = []
    for e in evaluators:
        for _, centre in centers.iterrows():
            own = rows[rows["model"] == centre["model"]]
            here, everywhere = _deviation(centre.to_frame().T, e), _deviation(own, e)
            loss, n = _number(centre[f"{e}_loss"]), _number(centre[f"{e}_n"])
            if not (here > 0 and loss > 0 and 1 < n < _ABSURD and math.isfinite(here + everywhere)):
                continue
            curves.append((str(centre["model"]), e, n, here, everywhere))
            root = math.sqrt(expected_change(here, np.array(n - 1)))
            enough = _ENOUGH * loss
            needed = samples_for(here, enough) if enough > 0 and math.isfinite(here / enough) else None
            lines.append([centre["model"], e, int(n), here, root / loss, needed])
    if not lines:
        return []
    caption = (
        "Is it enough samples? L_k is the mean loss of k samples in a random order; over all orders, one more sample "
        "moves it by S / sqrt(k (k + 1)) as a root mean square, S being the standard deviation of the samples' losses. "
        "All of it at the centre; the change is relative to the loss there."
    )
    header = ("model", "evaluator", "samples", "S", "last sample's change", f"samples for {_ENOUGH:.0%}")
    shown = (
        "Expected square of the change of the loss by one more sample, against the number of samples. Solid: at the "
        "centre; dashed: mean over the computed points of the grid. Both fall with the square of the number of samples."
    )
    table = Table(caption, header, lines, name="sample-size", digits=3)
    return [table, Figure("change-by-sample", shown, _picture(curves))]


def _deviation(rows: pd.DataFrame, evaluator: str) -> float:
    """Root mean square, over rows, of the standard deviation of the samples' losses; NaN where there is none."""
    errors, counts = (rows[f"{evaluator}_{what}"].to_numpy(float, na_value=np.nan) for what in ("loss_se", "n"))
    deviations = errors * np.sqrt(counts)
    size = np.abs(deviations[np.isfinite(deviations)])
    if not len(size) or not (most := float(size.max())):
        return math.nan
    return most * math.sqrt(float(np.mean((size / most) ** 2)))  # squares of large ones would overflow


def _number(value: object) -> float:
    return math.nan if is_missing(value) else float(value)  # type: ignore[arg-type]


def _picture(curves: Sequence[tuple[str, str, float, float, float]]) -> Canvas:
    evaluators = list(dict.fromkeys(e for _, e, *_ in curves))
    models = list(dict.fromkeys(m for m, *_ in curves))
    picture = new_picture(1.0 + 4.6 * len(evaluators), 3.9)
    panels = picture.subplots(1, len(evaluators), sharey=True, squeeze=False)[0]
    for ax, evaluator in zip(panels, evaluators, strict=True):
        for model, e, n, here, everywhere in curves:
            if e != evaluator or n < 2:
                continue
            colour = PALETTE[models.index(model) % len(PALETTE)]
            k = np.unique(np.geomspace(1, n - 1, 60).round())
            ax.plot(k, expected_change(here, k), color=colour, lw=1.8, label=plain(model))
            ax.plot(k, expected_change(everywhere, k), "--", color=colour, lw=1.2)
        ax.set(title=plain(evaluator), xlabel="samples k", xscale="log", yscale="log")
        ax.grid(alpha=0.25)
        log_ticks(ax)
    panels[0].set_ylabel("E (L(k+1) - L(k))²")
    panels[0].legend(frameon=False)
    return picture
