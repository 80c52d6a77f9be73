"""Learning curves under any schedule, with the gain of each drop of the rate saturating as a power law."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, decay, grid
from landsweep.sweeps.laws.fitting.curve_rows import SUM_BEFORE, Curves, notes

__all__ = ["MULTI_POWER", "MultiPower"]

_MOST = 200_000_000  # rows times drops: the table of what each drop is worth in each row


class MultiPower(Law):
    """L = L0 + A S1^-alpha - B sum_k (eta_{k-1} - eta_k) [1 - (1 + C eta_k^-gamma S_k)^-beta] (arXiv 2503.12811).

    The sum runs over the drops of the rate before a point; S_k is the sum of rates from drop k on, S1 that from the
    beginning, warm-up included. Rises of the rate count as negative drops, but not those of a warm-up: before a curve's
    rate has fallen for the first time.

    Each curve is a series of rows. Between two rows the rate is taken to fall linearly, in one drop at the mean place
    of all its steps; where it falls once, between rows at which it stays, in one drop at the step of the later row.
    Before the first row the rate is taken to be constant; `sum_before` gives the sum of rates there where it was not:
    a linear warm-up of W steps to a peak sums to W peak / 2. The sums need all rows of a curve; they are computed
    before rows are excluded, and rows without a loss may bring more of the schedule.
    """

    name = "multi_power"
    formula = "L = L0 + A S1^-alpha - B sum_k drop_k (1 - (1 + C rate_k^-gamma S_k)^-beta)"
    source = "arXiv 2503.12811"
    inputs = (
        Quantity("curve", "", "which rows belong to one run", positive=False, label=True),
        Quantity("step", "steps", "training step, from 1"),
        Quantity("rate", "", "learning rate at this step", positive=False),
        SUM_BEFORE,
    )
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("L0", "irreducible loss, nats per token", low=0),
        Parameter("A", "loss at S1 = 1, nats", log=True),
        Parameter("alpha", "exponent of the sum of rates", low=0, high=10),
        Parameter("B", "gain of a full drop, nats per unit of rate", log=True),
        Parameter("C", "how fast a drop takes effect", log=True),
        Parameter("beta", "exponent with which it takes effect", log=True, low=1e-3, high=20),
        Parameter("gamma", "dependence on the rate after the drop", low=-5, high=5),
    )

    def prepare(self, x: Points) -> Points:
        curves = Curves.of(x)
        sums, falls, place, drop, rate = _schedules(curves, curves.given_before(x))
        earlier: NDArray[np.int64] = np.cumsum(falls) - falls
        nth: NDArray[np.int64] = (earlier - earlier[curves.begins][curves.number])[falls]  # of its curve
        n, most = len(sums), 1 + max(0, nth.max(initial=0))
        if n * most > _MOST:
            raise UsageError(
                f"multi_power needs a number for each row and each drop of the rate before it, here {n} x {most}, and "
                f"takes at most {_MOST:.0e}; give fewer rows of each curve"
            )
        number = np.empty_like(curves.number)
        number[curves.order] = curves.number
        forward = curves.in_table(sums)

        def table(values: Floats, empty: float) -> Floats:
            by_curve = np.full((len(curves.begins), most), empty)
            by_curve[curves.number[falls], nth] = values
            return by_curve[number]

        since = forward[:, None] - table(place, np.inf)
        before = since > 0
        return {
            "S1": forward,
            "drops": np.where(before, table(drop, 0.0), 0.0),
            "after": np.where(before, table(rate, 1.0), 1.0),
            "since": np.where(before, since, 0.0),
        }

    def notes(self, x: Points) -> list[str]:
        return notes(x)

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        floor, scale, alpha, gain, speed, beta, gamma = (column(theta, i) for i in range(7))
        term, by_scale, by_exponent = decay(scale, alpha, np.log(x["S1"]))
        pairs = np.nonzero(x["drops"])  # rows, and drops before them
        drop, since, log_after = x["drops"][pairs], x["since"][pairs], np.log(x["after"][pairs])
        reach = np.exp(np.log(speed) - gamma * log_after) * since  # [S, pairs]
        grown = np.log1p(reach)
        remaining = drop * np.exp(-beta * grown)
        slope = remaining * (beta * (reach / (1 + reach)))

        def of_rows(values: Floats) -> Floats:
            return _summed(values, pairs[0], len(x["S1"]))

        total = of_rows(-drop * np.expm1(-beta * grown))
        gradient = [
            np.ones_like(term),
            by_scale,
            by_exponent,
            -total,
            -gain * of_rows(slope) / speed,
            -gain * of_rows(remaining * grown),
            gain * of_rows(slope * log_after),
        ]
        return floor + term - gain * total, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        level = y.min()
        largest = max(float(x["drops"].sum(1).max()), 1e-12)
        floors = level * np.array([0.6, 0.9])
        vectors = grid(floors, [1.0], [0.3, 0.7], [0.05, 0.3], [0.1, 10.0], [0.3, 1.0], [0.0, 0.6])
        vectors[:, 1] = np.maximum(centre(y) - vectors[:, 0], 0.01 * level) * centre(x["S1"]) ** vectors[:, 2]
        vectors[:, 3] *= level / largest
        waited = x["since"][x["since"] > 0]
        typical = float(np.median(waited)) if waited.size else 1.0
        vectors[:, 4] *= np.exp(vectors[:, 6] * np.log(np.median(x["after"]))) / typical
        return vectors

    def example(self) -> tuple[Floats, Points]:
        peak, end, places, curves = 3e-4, 24_000, [], []
        for drop, share in ((8000, 1.0), (4000, 0.5), (8000, 0.1), (8000, 0.02), (16_000, 0.3), (3000, 0.2)):
            step = np.concatenate([np.linspace(1200, drop, 8), drop + np.geomspace(1, end - drop, 20)])
            places.append(step)
            curves.append(np.where(step <= drop, peak, share * peak))
        curve = np.repeat(np.arange(float(len(places))), 28)
        x = {"curve": curve, "step": np.concatenate(places), "rate": np.concatenate(curves)}
        return np.array([2.8, 0.6, 0.45, 500.0, 2.0, 0.6, 0.6]), x


def _summed(values: Floats, rows: NDArray[np.int64], n: int) -> Floats:
    """Sums [S, n] of values [S, pairs] over the pairs of each row, which stand together."""
    sums = np.zeros((len(values), n))
    if len(rows):
        begins = np.flatnonzero(np.diff(rows, prepend=-1))
        sums[:, rows[begins]] = np.add.reduceat(values, begins, axis=1)
    return sums


def _schedules(curves: Curves, before: Floats | None) -> tuple[Floats, NDArray[np.bool_], Floats, Floats, Floats]:
    """The sum of rates up to each row [n], where the rate falls [n], and of each fall place, size, and rate after it.

    A fall lies between a row and the one before. Its place is the sum of rates up to the step before it. Sums and
    places are those of the definition where every step has a row; between rows where the rate falls linearly the place
    is the mean over the steps.
    """
    gap, change, left, right = (
        curves.since(curves.step),
        curves.since(curves.rate),
        curves.before(curves.rate),
        curves.rate,
    )
    skipped, last, sudden = np.maximum(gap - 1, 0), np.minimum(gap, 1), curves.abrupt()
    gained = np.where(sudden, skipped * left + last * right, (gap * (left + right) + last * change) / 2)
    begin = curves.step * right if before is None else before[curves.number] + right
    sums = curves.running(np.where(curves.first, begin, gained))
    whole = np.maximum(gap, 1)
    waited = np.where(sudden, skipped * left, skipped * (left / 2 + change * (whole + 1) / (6 * whole)))
    after = np.where(sudden, right, left + change * (whole + 1) / (2 * whole))
    least = 1e-12 * np.maximum.reduceat(right, curves.begins)[curves.number]
    falls = (change != 0) & (curves.running((change < 0).astype(float)) > 0)
    place = curves.before(sums) + waited
    return sums, falls, place[falls], -change[falls], np.maximum(after, least)[falls]


MULTI_POWER = MultiPower()
