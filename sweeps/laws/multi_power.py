"""Learning curves under any schedule, with the gain of each drop of the rate saturating as a power law."""

from __future__ import annotations

import numpy as np

from landsweep.orchestrator.errors import UsageError
from landsweep.sweeps.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, decay, grid
from landsweep.sweeps.laws.fitting.curve_rows import SUM_BEFORE, abrupt, curves, given_before, notes

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
        members = curves(x)
        parts = [_schedule(x["step"][rows], x["rate"][rows], given_before(x, rows)) for rows in members]
        n, most = len(x["rate"]), max(1, *(len(place) for _, place, _, _ in parts))
        if n * most > _MOST:
            raise UsageError(
                f"multi_power needs a number for each row and each drop of the rate before it, here {n} x {most}, and "
                f"takes at most {_MOST:.0e}; give fewer rows of each curve"
            )
        forward, after = np.empty(n), np.ones((n, most))
        drops, since = np.zeros((n, most)), np.zeros((n, most))
        for rows, (sums, place, fall, rates) in zip(members, parts, strict=True):
            forward[rows] = sums
            before = place[None, :] < sums[:, None]
            drops[rows, : len(place)] = np.where(before, fall, 0.0)
            after[rows, : len(place)] = np.where(before, rates, 1.0)
            since[rows, : len(place)] = np.where(before, sums[:, None] - place[None, :], 0.0)
        return {"S1": forward, "drops": drops, "after": after, "since": since}

    def notes(self, x: Points) -> list[str]:
        return notes(x)

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        floor, scale, alpha, gain, speed, beta, gamma = (column(theta, i) for i in range(7))
        term, by_scale, by_exponent = decay(scale, alpha, np.log(x["S1"]))
        log_after = np.log(x["after"])
        reach = speed[..., None] * np.exp(-gamma[..., None] * log_after) * x["since"]  # [S, n, K]
        waited = beta[..., None] * np.log1p(reach)
        remaining = np.exp(-waited)
        total = -(x["drops"] * np.expm1(-waited)).sum(2)
        slope = x["drops"] * beta[..., None] * remaining / (1 + reach) * reach
        gradient = [
            np.ones_like(term),
            by_scale,
            by_exponent,
            -total,
            -gain * slope.sum(2) / speed,
            -gain * (x["drops"] * remaining * np.log1p(reach)).sum(2),
            gain * (slope * log_after).sum(2),
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


def _schedule(steps: Floats, rates: Floats, before: float | None) -> tuple[Floats, Floats, Floats, Floats]:
    """The sum of rates up to each row [m], and of each fall between two rows its place, its size, the rate after it.

    A place is the sum of rates up to the step before the fall. Sums and places are those of the definition where every
    step has a row; between rows where the rate falls linearly the place is the mean over the steps.
    """
    gap, change = np.diff(steps), np.diff(rates)
    left, right, skipped, last = rates[:-1], rates[1:], np.maximum(gap - 1, 0), np.minimum(gap, 1)
    sudden = abrupt(steps, rates)
    gained = np.where(sudden, skipped * left + last * right, (gap * (left + right) + last * change) / 2)
    start = steps[0] * rates[0] if before is None else before + rates[0]
    sums = start + np.concatenate([[0.0], np.cumsum(gained)])
    whole = np.maximum(gap, 1)
    waited = np.where(sudden, skipped * left, skipped * (left / 2 + change * (whole + 1) / (6 * whole)))
    after = np.where(sudden, right, left + change * (whole + 1) / (2 * whole))
    falls = np.flatnonzero((change != 0) & np.logical_or.accumulate(change < 0))
    return sums, (sums[:-1] + waited)[falls], -change[falls], np.maximum(after, 1e-12 * rates.max())[falls]


MULTI_POWER = MultiPower()
