"""Learning curves under any schedule, with the gain of each drop of the rate saturating as a power law."""

from __future__ import annotations

import numpy as np

from sweeps.lab.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, decay, grid

__all__ = ["MULTI_POWER", "MultiPower"]


class MultiPower(Law):
    """L = L0 + A S1^-alpha - B sum_k (eta_{k-1} - eta_k) [1 - (1 + C eta_k^-gamma S_k)^-beta] (arXiv 2503.12811).

    The sum runs over the drops of the rate before a point; S_k is the sum of rates from drop k on, S1 that from the
    beginning, warm-up included.

    Each curve is a series of rows. Between two rows the rate is taken to move in one drop, half-way between their
    sums of rates: log rows often where it falls. Before the first row the rate is taken to be constant. The sums need
    all rows of a curve; they are computed before rows are excluded.
    """

    name = "multi_power"
    formula = "L = L0 + A S1^-alpha - B sum_k drop_k (1 - (1 + C rate_k^-gamma S_k)^-beta)"
    source = "arXiv 2503.12811"
    inputs = (
        Quantity("curve", "", "which rows belong to one run", positive=False, label=True),
        Quantity("step", "steps", "training step, from 1"),
        Quantity("rate", "", "learning rate at this step", positive=False),
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
        curves, steps, rates = x["curve"], x["step"], x["rate"]
        members = [np.flatnonzero(curves == c) for c in np.unique(curves)]
        longest = max(len(m) for m in members)
        drops, after, since = (np.zeros((len(curves), longest)) for _ in range(3))
        forward = np.empty_like(rates)
        for rows in members:
            rows = rows[np.argsort(steps[rows], kind="stable")]
            gained = np.diff(steps[rows]) * (rates[rows[1:]] + rates[rows[:-1]]) / 2
            forward[rows] = np.concatenate([[0.0], np.cumsum(gained)]) + steps[rows[0]] * rates[rows[0]]
            fall = rates[rows[:-1]] - rates[rows[1:]]
            place = (forward[rows[:-1]] + forward[rows[1:]]) / 2
            for i, row in enumerate(rows):
                drops[row, :i] = fall[:i]
                after[row, :i] = np.maximum(rates[rows[1 : i + 1]], 1e-12 * rates[rows].max())
                since[row, :i] = forward[row] - place[:i]
        return {"S1": forward, "drops": drops, "after": np.where(after > 0, after, 1.0), "since": since}

    def evaluate(self, theta: Floats, x: Points) -> tuple[Floats, Floats]:
        floor, scale, alpha, gain, speed, beta, gamma = (column(theta, i) for i in range(7))
        term, by_scale, by_exponent = decay(scale, alpha, np.log(x["S1"]))
        log_after = np.log(x["after"])
        reach = speed[..., None] * np.exp(-gamma[..., None] * log_after) * x["since"]  # [S, n, K]
        kept = np.exp(-beta[..., None] * np.log1p(reach))
        total = (x["drops"] * (1 - kept)).sum(2)
        slope = x["drops"] * beta[..., None] * kept / (1 + reach) * reach
        gradient = [
            np.ones_like(term),
            by_scale,
            by_exponent,
            -total,
            -gain * slope.sum(2) / speed,
            -gain * (x["drops"] * kept * np.log1p(reach)).sum(2),
            gain * (slope * log_after).sum(2),
        ]
        return floor + term - gain * total, np.stack(gradient, axis=1)

    def starts(self, x: Points, y: Floats) -> Floats:
        level = y.min()
        largest = max(float(x["drops"].sum(1).max()), 1e-12)
        found = grid(level * np.array([0.6, 0.9]), [1.0], [0.3, 0.7], [0.05, 0.3], [0.1, 10.0], [0.3, 1.0], [0.0, 0.6])
        found[:, 1] = np.maximum(centre(y) - found[:, 0], 0.01 * level) * centre(x["S1"]) ** found[:, 2]
        found[:, 3] *= level / largest
        waited = x["since"][x["since"] > 0]
        typical = float(np.median(waited)) if waited.size else 1.0
        found[:, 4] *= np.exp(found[:, 6] * np.log(np.median(x["after"]))) / typical
        return found

    def example(self) -> tuple[Floats, Points]:
        peak, end, places, curves = 3e-4, 24_000, [], []
        for drop, share in ((8000, 1.0), (4000, 0.5), (8000, 0.1), (8000, 0.02), (16_000, 0.3), (3000, 0.2)):
            step = np.concatenate([np.linspace(1200, drop, 8), drop + np.geomspace(1, end - drop, 20)])
            places.append(step)
            curves.append(np.where(step <= drop, peak, share * peak))
        curve = np.repeat(np.arange(float(len(places))), 28)
        x = {"curve": curve, "step": np.concatenate(places), "rate": np.concatenate(curves)}
        return np.array([2.8, 0.6, 0.45, 500.0, 2.0, 0.6, 0.6]), x


MULTI_POWER = MultiPower()
