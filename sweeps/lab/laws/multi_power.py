"""Learning curves under any schedule, with the gain of each drop of the rate saturating as a power law."""

from __future__ import annotations

import numpy as np

from sweeps.lab.laws.base import Floats, Law, Parameter, Points, Quantity, centre, column, decay, grid

__all__ = ["MULTI_POWER", "MultiPower"]


class MultiPower(Law):
    """L = L0 + A S1^-alpha - B sum_k (eta_{k-1} - eta_k) [1 - (1 + C eta_k^-gamma S_k)^-beta] (arXiv 2503.12811).

    The sum runs over the drops of the rate before a point; S_k is the sum of rates from drop k on, S1 that from the
    beginning, warm-up included.

    Each curve is a series of rows (`curve`, `step`, `rate`, `S1`, `loss`). Between two rows the rate is taken to move
    in one drop, half-way: log rows often where it falls. `prepare` finds the drops before each row; it needs all rows
    of a curve, so rows are excluded only after it.
    """

    name = "multi_power"
    formula = "L = L0 + A S1^-alpha - B sum_k drop_k (1 - (1 + C rate_k^-gamma S_k)^-beta)"
    source = "arXiv 2503.12811"
    inputs = (
        Quantity("curve", "", "which rows belong to one run", positive=False, label=True),
        Quantity("S1", "steps x rate", "sum of learning rates so far"),
        Quantity("rate", "", "learning rate at this step", positive=False),
    )
    output = Quantity("loss", "nats per token", "held-out loss")
    parameters = (
        Parameter("L0", "irreducible loss, nats per token", log=True),
        Parameter("A", "loss at S1 = 1, nats", log=True),
        Parameter("alpha", "exponent of the sum of rates", low=0, high=10),
        Parameter("B", "gain of a full drop, nats per unit of rate", log=True),
        Parameter("C", "how fast a drop takes effect", log=True),
        Parameter("beta", "exponent with which it takes effect", log=True, low=1e-3, high=20),
        Parameter("gamma", "dependence on the rate after the drop", low=-5, high=5),
    )

    def prepare(self, x: Points) -> Points:
        curves, forward, rates = x["curve"], x["S1"], x["rate"]
        members = [np.flatnonzero(curves == c) for c in np.unique(curves)]
        longest = max(len(m) for m in members)
        drops, after, since = (np.zeros((len(curves), longest)) for _ in range(3))
        for rows in members:
            rows = rows[np.argsort(forward[rows], kind="stable")]
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
        peak, step = 3e-4, np.arange(0, 24_001, 600)
        shapes = (
            np.full(step.shape, peak),
            peak * (0.55 + 0.45 * np.cos(np.pi * step / 24_000)),
            np.where(step < 12_000, peak, 0.3 * peak),
            np.where(step < 12_000, peak, 0.1 * peak),
            np.where(step < 18_000, peak, peak * np.exp(-(step - 18_000) / 2_500)),
        )
        curves, forward, rates = [], [], []
        for i, shape in enumerate(shapes):
            total = np.concatenate([[0.0], np.cumsum(600 * (shape[1:] + shape[:-1]) / 2)]) + 0.5
            curves += [np.full(len(step), float(i))]
            forward += [total]
            rates += [shape]
        x = {"curve": np.concatenate(curves), "S1": np.concatenate(forward), "rate": np.concatenate(rates)}
        return np.array([2.8, 0.6, 0.45, 500.0, 2.0, 0.6, 0.6]), x


MULTI_POWER = MultiPower()
